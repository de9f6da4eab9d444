// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Programs of the tests that run in a process of their own, with libraries of their own. */
final class Probes {
    private Probes() {}

    /** The folder of the stand-ins for NVIDIA's libraries. */
    static Path doubles() {
        Path doubles = Path.of(System.getProperty("gatun.library")).resolveSibling("doubles");
        assertTrue(Files.exists(doubles.resolve("libcublasLt.so.13")), doubles + " is built with the native tests");
        return doubles;
    }

    private static String jars(Predicate<String> kept) {
        return Stream.of("java.class.path", "jdk.module.path")
                .map(System::getProperty)
                .filter(path -> path != null)
                .flatMap(path -> Stream.of(path.split(File.pathSeparator)))
                .filter(kept)
                .collect(Collectors.joining(File.pathSeparator));
    }

    /**
     * What a program prints, which must end with status 0.
     *
     * @param libraries LD_LIBRARY_PATH
     * @param jars which of this process's jars it has
     */
    static String run(Class<?> probe, Path libraries, Predicate<String> jars) throws IOException, InterruptedException {
        // where JavaCPP unpacks; it leaves links to the libraries there, which a later process would find
        Path cache = Files.createTempDirectory("gatun-probe");
        try {
            List<String> line = List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "--enable-native-access=ALL-UNNAMED",
                    "-Xmx256m",
                    "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
                    "-Dorg.bytedeco.javacpp.cachedir=" + cache,
                    "-Dgatun.library=" + System.getProperty("gatun.library"),
                    "-cp",
                    jars(jars) + File.pathSeparator + classes(probe) + File.pathSeparator + classes(CublasLt.class),
                    probe.getName());
            ProcessBuilder builder = new ProcessBuilder(line).redirectErrorStream(true);
            builder.environment().put("LD_LIBRARY_PATH", libraries.toString());
            Process process = builder.start();
            String said = new String(process.getInputStream().readAllBytes()).strip();
            assertEquals(0, process.waitFor(), said);
            return said;
        } finally {
            try (Stream<Path> files = Files.walk(cache)) {
                for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(file);
                }
            }
        }
    }

    private static String classes(Class<?> type) {
        String name = type.getName().replace('.', '/') + ".class";
        String found = type.getResource("/" + name).getPath();
        return found.substring(0, found.length() - name.length());
    }
}
