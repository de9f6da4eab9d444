// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class MainTest {
    @TempDir
    Path folder;

    private record Output(int status, String out, String err) {}

    // picocli prints to System.out and System.err, as a person sees it.
    private static synchronized Output gatun(String... arguments) {
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream outBytes = new ByteArrayOutputStream();
        ByteArrayOutputStream errBytes = new ByteArrayOutputStream();
        System.setOut(new PrintStream(outBytes, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(errBytes, true, StandardCharsets.UTF_8));
        try {
            int status = Main.run(arguments);
            return new Output(status, outBytes.toString(StandardCharsets.UTF_8), errBytes.toString(StandardCharsets.UTF_8));
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
    }

    private static void failsInOneLine(Output output, String part) {
        assertEquals(1, output.status, output.err);
        assertTrue(output.err.contains(part), output.err);
        assertEquals(1, output.err.strip().lines().count(), output.err);
    }

    @Test
    void helpTeachesAndHasNoColoursInAPipe() {
        Output help = gatun("--help");
        assertEquals(0, help.status);
        assertTrue(help.out.contains("gatun pretrain configs/fashion-mnist-swav.yaml"), help.out);
        assertFalse(help.out.contains("\u001b"), help.out);
    }

    @Test
    void infoIsOneJsonObjectWithTheLevelOfEachOperation() {
        Output info = gatun("info", "--json");
        assertEquals(0, info.status, info.err);
        JsonNode json = JsonMapper.builder().build().readTree(info.out);
        assertEquals("0.1.0", json.path("version").asString());
        assertTrue(json.path("threads").asInt() >= 1);
        assertTrue(json.path("operations").has("sinkhorn"), info.out);
        assertTrue(json.path("operations").path("attention").asString().matches("scalar|avx2|avx512|neon"), info.out);
        assertTrue(json.path("libraries").has("gemm"));
    }

    @Test
    void wrongUseIsExplained() {
        assertEquals(2, gatun("pretrain").status);
        assertEquals(2, gatun("nonsense").status);
        assertEquals(2, gatun("embed", "somewhere").status);
        failsInOneLine(gatun("pretrain", folder.resolve("none.yaml").toString()), "none.yaml");
        failsInOneLine(gatun("pretrain", "--resume", "--out", folder.resolve("empty").toString()), "config.yaml");
        failsInOneLine(gatun("evaluate", folder.toString()), "not a run's folder");
    }

    @Test
    void aDownloadedFileIsChecked() throws Exception {
        Path from = Files.createDirectories(folder.resolve("from"));
        for (String name : new String[] {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}) {
            Files.write(from.resolve(name), new byte[] {1, 2, 3});
        }
        Output output = gatun("data", "fashion-mnist", "--from", from.toUri().toString(), "--to", folder.resolve("to").toString());
        failsInOneLine(output, "is not the file expected");
        assertFalse(Files.exists(folder.resolve("to/train-images-idx3-ubyte.gz")));
        assertFalse(Files.exists(folder.resolve("to/train-images-idx3-ubyte.gz.part")));
    }
}
