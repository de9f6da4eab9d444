// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * cuBLASLt through the JavaCPP binding, in processes of their own: over a stand-in for NVIDIA's libraries that multiplies on the host, and without
 * any library. What the real library does with the same calls is known on a CUDA device only.
 */
class CublasLtTest {
    @TempDir
    Path empty;

    private static String jars(Predicate<String> kept) {
        return Stream.of("java.class.path", "jdk.module.path")
                .map(System::getProperty)
                .filter(path -> path != null)
                .flatMap(path -> Stream.of(path.split(File.pathSeparator)))
                .filter(kept)
                .collect(Collectors.joining(File.pathSeparator));
    }

    private static String probe(Path libraries, Predicate<String> jars) throws IOException, InterruptedException {
        List<String> line = List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-Xmx256m",
                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
                "-Dgatun.library=" + System.getProperty("gatun.library"),
                "-cp",
                jars(jars) + File.pathSeparator + classes(CublasLtProbe.class) + File.pathSeparator + classes(CublasLt.class),
                CublasLtProbe.class.getName());
        ProcessBuilder builder = new ProcessBuilder(line).redirectErrorStream(true);
        builder.environment().put("LD_LIBRARY_PATH", libraries.toString());
        Process process = builder.start();
        String said = new String(process.getInputStream().readAllBytes()).strip();
        assertEquals(0, process.waitFor(), said);
        return said;
    }

    private static String classes(Class<?> type) {
        String name = type.getName().replace('.', '/') + ".class";
        String found = type.getResource("/" + name).getPath();
        return found.substring(0, found.length() - name.length());
    }

    @Test
    void productsThroughTheBindingAreRight() throws Exception {
        Path doubles = Path.of(System.getProperty("gatun.library")).resolveSibling("doubles");
        assertTrue(Files.exists(doubles.resolve("libcublasLt.so.13")), doubles + " is built with the native tests");
        String said = probe(doubles, jar -> true);
        assertTrue(said.matches("cuBLASLt 13\\.0\\.0 done \\d{4,}"), said);
    }

    @Test
    void aMissingLibraryIsOneLineThatSaysWhatToDo() throws Exception {
        String said = probe(empty, jar -> true);
        assertEquals(1, said.lines().count(), said);
        assertTrue(said.startsWith("NO_DEVICE gemm: needs cuBLAS of CUDA 13 (13.0 or newer): there is no "), said);
        for (String part : new String[] {"libcublasLt.so.13", "LD_LIBRARY_PATH (" + empty + ")", "/usr/local/cuda/lib64", "`gemm: gatun`"}) {
            assertTrue(said.contains(part), said);
        }
    }

    @Test
    void withoutTheJarsTheErrorNamesThem() throws Exception {
        String said = probe(empty, jar -> !jar.matches(".*/cuda-[^/]*\\.jar"));
        assertEquals(1, said.lines().count(), said);
        assertTrue(said.contains("org.bytedeco:cuda:13.1-9.19-1.5.13, also with classifier linux-x86_64, is not on the class"), said);
    }

    @Test
    void tf32IsForTheLibraryOnly() {
        assertThrows(TensorException.class, () -> new CudaSettings(CudaSettings.Products.GATUN, true));
        assertEquals(CudaSettings.Products.GATUN, CudaSettings.DEFAULT.withGemm(CudaSettings.Products.GATUN).gemm());
    }
}
