// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The bindings are written by hand; the compiler of the library says what they should be. */
class AbiTest {
    @Test
    void everyFunctionAndStructIsAsTheLibraryWasCompiled() throws Exception {
        loadAllBindings();
        TreeSet<String> library = new TreeSet<>(List.of(NativeLibrary.cpu().abi().split("\n")));
        TreeSet<String> java = new TreeSet<>();
        Downcall.all().forEach(downcall -> java.add(downcall.describe()));
        Struct.all().forEach(struct -> java.add(struct.describe()));
        assertFalse(java.isEmpty());
        assertEquals(String.join("\n", library), String.join("\n", java));
    }

    private static void loadAllBindings() throws Exception {
        URI location = NativeLibrary.class.getProtectionDomain().getCodeSource().getLocation().toURI();
        Path directory = Path.of(location).resolve("dev/gatun/primitives");
        try (Stream<Path> files = Files.list(directory)) {
            for (Path file : files.toList()) {
                String name = file.getFileName().toString();
                if (name.endsWith(".class") && !name.equals("package-info.class")) {
                    Class.forName("dev.gatun.primitives." + name.substring(0, name.length() - ".class".length()));
                }
            }
        }
    }
}
