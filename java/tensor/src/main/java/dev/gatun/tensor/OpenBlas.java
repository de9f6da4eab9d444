// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;

/**
 * OpenBLAS from its JavaCPP preset, which extracts and loads the library; its {@code cblas_sgemm} is then called by Gatun's own threads.
 *
 * <p>The preset's build (0.3.31) has a pool of POSIX threads and does not link OpenMP: the process maps one libgomp, that of
 * libgatun. Left to itself the pool competes with OpenMP's waiting threads for the same cores, and its results change with its number of
 * threads (measured: 10 to 30 % of the elements of a product differ between one and two threads). So the library is told to use one thread,
 * the only thing set in the process, and {@link dev.gatun.primitives.Gemm} cuts the product into tiles by shape.
 */
final class OpenBlas implements Gemm {
    private static final class Library {
        static final MemorySegment SGEMM = load();

        private static MemorySegment load() {
            // the preset's file lies beside the library it is linked to
            Path preset = Path.of(Loader.load(openblas_nolapack.class));
            openblas_nolapack.blas_set_num_threads(1);
            return dev.gatun.primitives.Gemm.sgemm(preset.resolveSibling("libopenblas_nolapack.so.0"));
        }
    }

    @Override
    public String name() {
        return openblas_nolapack.OPENBLAS_VERSION.strip();
    }

    @Override
    public void multiply(GatunStream stream, float alpha, Operand a, Operand b, float beta, Operand c) {
        dev.gatun.primitives.Gemm.multiply(stream, Library.SGEMM, alpha, a, b, beta, c);
    }
}
