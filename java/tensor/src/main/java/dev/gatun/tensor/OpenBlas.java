// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemm;

import java.lang.foreign.MemorySegment;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;

/** OpenBLAS through its preset. */
final class OpenBlas implements Gemm {
    /** Points wherever it is told, so that a call makes no JavaCPP object. */
    private static final class Operand extends FloatPointer {
        Operand at(MemorySegment segment) {
            address = segment.address();
            return this;
        }
    }

    private static int threadsNow;

    private final int threads;
    private final Operand a = new Operand();
    private final Operand b = new Operand();
    private final Operand c = new Operand();

    OpenBlas(int threads) {
        this.threads = threads;
        Loader.load(openblas_nolapack.class);
    }

    @Override
    public String name() {
        return "OpenBLAS " + openblas_nolapack.OPENBLAS_VERSION;
    }

    @Override
    public void multiply(
            boolean transposeA,
            boolean transposeB,
            long m,
            long n,
            long k,
            float alpha,
            MemorySegment aSegment,
            long lda,
            MemorySegment bSegment,
            long ldb,
            float beta,
            MemorySegment cSegment,
            long ldc) {
        check("A", aSegment, transposeA ? k : m, transposeA ? m : k, lda);
        check("B", bSegment, transposeB ? n : k, transposeB ? k : n, ldb);
        check("C", cSegment, m, n, ldc);
        if (cSegment.isReadOnly()) {
            throw new TensorException("gemm: C is read-only");
        }
        // the library's thread count is global to the process, so a second device takes turns
        synchronized (OpenBlas.class) {
            if (threadsNow != threads) {
                openblas_nolapack.blas_set_num_threads(threads);
                threadsNow = threads;
            }
            cblas_sgemm(
                    CblasRowMajor,
                    transposeA ? CblasTrans : CblasNoTrans,
                    transposeB ? CblasTrans : CblasNoTrans,
                    (int) m,
                    (int) n,
                    (int) k,
                    alpha,
                    a.at(aSegment),
                    (int) lda,
                    b.at(bSegment),
                    (int) ldb,
                    beta,
                    c.at(cSegment),
                    (int) ldc);
        }
    }

    private static void check(String name, MemorySegment segment, long rows, long columns, long leading) {
        long needed = rows == 0 || columns == 0 ? 0 : (rows - 1) * leading + columns;
        if (rows < 0 || columns < 0 || leading < Math.max(1, columns) || leading > Integer.MAX_VALUE || rows > Integer.MAX_VALUE) {
            throw new TensorException("gemm: " + name + " of " + rows + "x" + columns + " with leading dimension " + leading);
        }
        if (!segment.isNative() || segment.byteSize() < needed * Float.BYTES) {
            throw new TensorException("gemm: " + name + " needs " + needed * Float.BYTES + " bytes of native memory, given "
                    + segment.byteSize());
        }
    }
}
