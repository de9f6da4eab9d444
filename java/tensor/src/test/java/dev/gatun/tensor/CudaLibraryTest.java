// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * cuBLASLt and cuDNN through the JavaCPP binding, in processes of their own: over stand-ins for NVIDIA's libraries that compute on the host, and
 * without any library. What the real library does with the same calls is known on a CUDA device only.
 */
class CudaLibraryTest {
    @TempDir
    Path empty;

    @Test
    void productsThroughTheBindingAreRight() throws Exception {
        Path doubles = Probes.doubles();
        String said = Probes.run(CublasLtProbe.class, doubles, jar -> true);
        assertTrue(said.matches("cuBLASLt 13\\.0\\.0 done \\d{4,}"), said);
    }

    private static void assumeNone(String library) {
        assumeTrue(CudaLibrary.folders().stream().noneMatch(folder -> Files.exists(folder.resolve(library))), "this machine has " + library);
    }

    @Test
    void aMissingLibraryIsOneLineThatSaysWhatToDo() throws Exception {
        assumeNone("libcublasLt.so.13");
        String said = Probes.run(CublasLtProbe.class, empty, jar -> true);
        assertEquals(1, said.lines().count(), said);
        assertTrue(said.startsWith("NO_DEVICE gemm: needs cuBLAS of CUDA 13 (13.0 or newer): there is no "), said);
        for (String part : new String[] {"libcublasLt.so.13", "LD_LIBRARY_PATH (" + empty + ")", "/usr/local/cuda/lib64", "`gemm: gatun`"}) {
            assertTrue(said.contains(part), said);
        }
    }

    @Test
    void convolutionsThroughTheBindingAreRight() throws Exception {
        String said = Probes.run(CudnnProbe.class, Probes.doubles(), jar -> true);
        assertTrue(said.matches("cuDNN 9\\.10\\.0 done \\d{4,}"), said);
    }

    @Test
    void cudnnIsMissedOnlyWhereItIsAskedFor() throws Exception {
        assumeNone("libcudnn.so.9");
        for (String file : new String[] {"libcuda.so.1", "libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13"}) {
            Files.copy(Probes.doubles().resolve(file), empty.resolve(file));
        }
        String said = Probes.run(CudnnProbe.class, empty, jar -> true);
        assertEquals(1, said.lines().count(), said);
        assertTrue(said.startsWith("NO_DEVICE convolution: needs cuDNN 9 and cuBLAS, both for CUDA 13: there is no libcudnn"), said);
        assertTrue(said.contains("libcudnn.so.9"), said);
        assertTrue(said.contains("without `convolution: cudnn`"), said);
        said = Probes.run(CublasLtProbe.class, empty, jar -> true);
        assertTrue(said.startsWith("cuBLASLt 13.0.0 done"), said);
    }

    @Test
    void withoutTheJarsTheErrorNamesThem() throws Exception {
        String said = Probes.run(CublasLtProbe.class, empty, jar -> !jar.matches(".*/cuda-[^/]*\\.jar"));
        assertEquals(1, said.lines().count(), said);
        assertTrue(said.contains("org.bytedeco:cuda:13.1-9.19-1.5.13, also with classifier linux-x86_64, is not on the class"), said);
    }

    @Test
    void tf32IsForTheLibraryOnly() {
        assertThrows(TensorException.class, () -> CudaSettings.DEFAULT.withTf32(true).withGemm(CudaSettings.Products.GATUN));
        assertEquals(CudaSettings.Products.GATUN, CudaSettings.DEFAULT.withGemm(CudaSettings.Products.GATUN).gemm());
    }
}
