// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.torch;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.junit.jupiter.api.Test;

class TorchScriptFileTest {
    @Test
    void theArchiveHoldsTheSourceStoredAsItIs() throws IOException {
        String source = "class Peer(Module):\n  def one(self) -> int:\n    return 1\n";
        Path file = TorchScriptFile.write(source);
        try (ZipFile zip = new ZipFile(file.toFile())) {
            ZipEntry code = zip.getEntry("peer/code/__torch__.py");
            assertEquals(ZipEntry.STORED, code.getMethod());
            assertEquals(source, new String(zip.getInputStream(code).readAllBytes(), StandardCharsets.UTF_8));
            byte[] pickle = zip.getInputStream(zip.getEntry("peer/data.pkl")).readAllBytes();
            assertEquals(2, pickle[1]);
            assertEquals('.', pickle[pickle.length - 1]);
        } finally {
            Files.delete(file);
        }
    }
}
