// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Gemm.Epilogue;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.bytedeco.cuda.global.cublas;

/**
 * Runs in a process of its own, since a library that was once looked for in vain stays lost: opens cuBLASLt as a CUDA device does, multiplies
 * through the JavaCPP binding, and compares with doubles. Prints {@code done N} or the first line of what went wrong. The stream is the emulated
 * device's; operands are the host's memory, which a stand-in for the library can read.
 */
final class CublasLtProbe {
    private static final DType[][] DTYPES = {
        {DType.F32, DType.F32}, {DType.BF16, DType.BF16}, {DType.BF16, DType.F32}, {DType.F16, DType.F32}
    };

    private final CublasLt gemm;
    private final GatunStream stream;
    private int checked;

    private CublasLtProbe(CublasLt gemm, GatunStream stream) {
        this.gemm = gemm;
        this.stream = stream;
    }

    public static void main(String[] arguments) {
        try (GatunContext context = GatunContext.emulated(); GatunStream stream = context.stream()) {
            try (Gemm gemm = CudaLibrary.gemm(stream, 0, false)) {
                CublasLtProbe probe = new CublasLtProbe((CublasLt) gemm, stream);
                probe.products();
                probe.keysAndErrors();
                probe.linear();
                System.out.println(gemm.name() + " done " + probe.checked);
            }
            opensAgain(stream);
        } catch (GatunException e) {
            System.out.println(e.status() + " " + e.getMessage());
        }
    }

    private static void opensAgain(GatunStream stream) {
        try (Gemm tf32 = CudaLibrary.gemm(stream, 0, true)) {
            require(tf32.name().endsWith("f32 as TF32"), tf32.name());
        }
        try (Gemm other = CudaLibrary.gemm(stream, 3, false)) {
            throw new IllegalStateException(other.name());
        } catch (GatunException e) {
            require(e.getMessage().equals("gemm: CUDA cannot use device 3: cudaErrorInvalidDevice"), e.getMessage());
        }
    }

    private static void require(boolean met, String what) {
        if (!met) {
            throw new IllegalStateException(what);
        }
    }

    /** Every dtype, by rows and by columns, in parts of wider matrices, with and without what c held, with each epilogue. */
    private void products() {
        for (DType[] dtypes : DTYPES) {
            for (long[] s : new long[][] {{5, 7, 3}, {1, 4, 6}, {6, 1, 5}, {16, 8, 24}}) {
                for (int form = 0; form < 16; form++) {
                    for (Epilogue epilogue : new Epilogue[] {null, Epilogue.BIAS, Epilogue.BIAS_GRADIENT}) {
                        product(dtypes[0], dtypes[1], s, form, epilogue);
                    }
                }
            }
        }
    }

    private void product(DType in, DType out, long[] s, int form, Epilogue epilogue) {
        try (Arena arena = Arena.ofConfined()) {
            int extra = (form & 4) != 0 ? 3 : 0;
            Operand a = matrix(arena, in, s[0], s[2], (form & 1) != 0, extra, 1);
            Operand b = matrix(arena, in, s[2], s[1], (form & 2) != 0, extra, 2);
            Operand c = matrix(arena, out, s[0], s[1], false, extra, 3);
            float beta = (form & 8) != 0 ? 1 : 0;
            if (beta == 0) {
                fill(c, Float.NaN);
            }
            long length = epilogue == Epilogue.BIAS ? s[1] : s[0];
            Operand v = new Operand(arena.allocate(length * out.bytes(), 64), Layout.of(out, length));
            for (long i = 0; i < length; i++) {
                put(v, i, value(i, 4));
            }
            double[] before = new double[(int) (s[0] * s[1])];
            for (int i = 0; i < before.length; i++) {
                before[i] = beta == 0 ? 0 : get(c, i / s[1], i % s[1]);
            }
            float alpha = epilogue == null ? 0.5f : 1;
            if (epilogue == null) {
                gemm.multiply(stream, alpha, a, b, beta, c);
            } else if (gemm.offers(epilogue, a, b, beta, c)) {
                gemm.multiply(stream, a, b, beta, c, epilogue, v);
            } else {
                // as the stand-in says
                require(epilogue == Epilogue.BIAS_GRADIENT && in == DType.F16, epilogue + " of " + in);
                return;
            }
            double rounding = out == DType.BF16 ? 0x1p-8 : 0x1p-23;
            for (int i = 0; i < before.length; i++) {
                double sum = 0;
                for (long l = 0; l < s[2]; l++) {
                    sum += get(a, i / s[1], l) * get(b, l, i % s[1]);
                }
                double expected = alpha * sum + before[i] + (epilogue == Epilogue.BIAS ? get(v, i % s[1]) : 0);
                close(expected, get(c, i / s[1], i % s[1]), rounding, "c of " + in + " form " + form + " " + epilogue);
            }
            for (long i = 0; i < s[0] && epilogue == Epilogue.BIAS_GRADIENT; i++) {
                double sum = 0;
                for (long l = 0; l < s[2]; l++) {
                    sum += get(a, i, l);
                }
                close(sum, get(v, i), rounding, "bias gradient of " + in + " form " + form);
            }
        }
    }

    /** The stand-in sums in doubles and rounds once. */
    private void close(double expected, double got, double rounding, String what) {
        require(Math.abs(expected - got) <= rounding * Math.abs(expected) + 1e-30, what + ": " + got + " instead of " + expected);
        checked++;
    }

    /** A linear layer on a device, forward and back into f32 buffers, through the library's epilogues and through Gatun's own kernel. */
    private void linear() {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            try (Device own = Device.emulated(); Device library = Device.emulated(CudaSettings.DEFAULT)) {
                float[][] expected = linear(own, dtype, false);
                float[][] got = linear(library, dtype, false);
                // of magnitudes, every result is the sum of its terms' magnitudes
                float[][] sizes = linear(own, dtype, true);
                for (int i = 0; i < got.length; i++) {
                    // a result in bf16 is rounded once on each side; sums of at most 37 terms and what was there, in any order
                    double rounding = 2 * 40 * 0x1p-24 + (dtype == DType.BF16 && i < 2 ? 2.1 * 0x1p-8 : 0);
                    for (int j = 0; j < got[i].length; j++) {
                        require(Math.abs(expected[i][j] - got[i][j]) <= rounding * sizes[i][j], "linear: tensor " + i + " of " + dtype);
                        checked++;
                    }
                }
                require(((CublasLt) library.gemm()).plans() == 3, "a plan each for forward, the gradient of x, and those of the parameters");
            }
        }
    }

    private static float[][] linear(Device device, DType dtype, boolean magnitudes) {
        try (Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Tensor gw = CudnnProbe.values(scope, DType.F32, magnitudes, 24, 16);
            Tensor gb = CudnnProbe.values(scope, DType.F32, magnitudes, 24);
            Tensor x = tape.watch(CudnnProbe.values(scope, dtype, magnitudes, 37, 16));
            Tensor w = tape.watch(CudnnProbe.values(scope, dtype, magnitudes, 24, 16), gw);
            Tensor b = tape.watch(CudnnProbe.values(scope, dtype, magnitudes, 24), gb);
            Tensor y = x.linear(w, b);
            tape.backward(y, CudnnProbe.values(scope, dtype, magnitudes, 37, 24));
            return new float[][] {
                CudnnProbe.floats(y.detach()), CudnnProbe.floats(tape.gradient(x)), gw.toArray(), gb.toArray()
            };
        }
    }

    private void keysAndErrors() {
        try (Arena arena = Arena.ofConfined()) {
            Operand a = matrix(arena, DType.F32, 4, 8, false, 0, 1);
            Operand b = matrix(arena, DType.F32, 8, 2, false, 0, 2);
            Operand c = matrix(arena, DType.F32, 4, 2, false, 0, 3);
            gemm.multiply(stream, 1, a, b, 0, c);
            int plans = gemm.plans();
            gemm.multiply(stream, 2, a, b, 1, matrix(arena, DType.F32, 4, 2, false, 0, 3));
            require(gemm.plans() == plans, "the same shapes asked for another algorithm");
            fails(
                    "no algorithm for f16(4, 8) by f16(8, 2) into f16(4, 2); `gemm: gatun`",
                    matrix(arena, DType.F16, 4, 8, false, 0, 1), matrix(arena, DType.F16, 8, 2, false, 0, 1),
                    matrix(arena, DType.F16, 4, 2, false, 0, 1));
            fails(
                    "cuBLASLt cannot multiply f32(1, 7777) by f32(7777, 1) into f32(1, 1): CUBLAS_STATUS_EXECUTION_FAILED",
                    matrix(arena, DType.F32, 1, 7777, false, 0, 1), matrix(arena, DType.F32, 7777, 1, false, 0, 1),
                    matrix(arena, DType.F32, 1, 1, false, 0, 1));
            Operand longer = new Operand(c.segment(), Layout.of(DType.F32, 3));
            try {
                gemm.multiply(stream, a, b, 0, c, Epilogue.BIAS, longer);
                throw new IllegalStateException("a bias of another length");
            } catch (GatunException e) {
                require(e.getMessage().contains("needs a contiguous vector f32[2], given f32[3]"), e.getMessage());
            }
        }
        // constants are in this class file; the binding that was loaded has the same
        require(cublas.CUBLASLT_EPILOGUE_BGRADB == 512, "epilogue");
    }

    private void fails(String why, Operand a, Operand b, Operand c) {
        try {
            gemm.multiply(stream, 1, a, b, 0, c);
        } catch (GatunException e) {
            require(e.getMessage().contains(why), e.getMessage());
            return;
        }
        throw new IllegalStateException("not refused: " + why);
    }

    private static Operand matrix(Arena arena, DType dtype, long rows, long columns, boolean byColumns, int extra, int seed) {
        long leading = (byColumns ? rows : columns) + extra;
        long[] strides = byColumns ? new long[] {1, leading} : new long[] {leading, 1};
        MemorySegment memory = arena.allocate(leading * (byColumns ? columns : rows) * dtype.bytes(), 64);
        Operand matrix = new Operand(memory, Layout.strided(dtype, new long[] {rows, columns}, strides));
        for (long i = 0; i < rows * columns; i++) {
            put(matrix, i / columns * strides[0] + i % columns * strides[1], value(i, seed));
        }
        return matrix;
    }

    private static float value(long index, int seed) {
        double t = (index + 7 * seed) * 0.7548776662466927;
        return (float) (2 * (t - Math.floor(t)) - 1);
    }

    private static void fill(Operand matrix, float value) {
        for (long i = 0; i < matrix.segment().byteSize() / matrix.layout().dtype().bytes(); i++) {
            put(matrix, i, value);
        }
    }

    private static void put(Operand operand, long index, float value) {
        MemorySegment memory = operand.segment();
        switch (operand.layout().dtype()) {
            case F32 -> memory.setAtIndex(ValueLayout.JAVA_FLOAT, index, value);
            case F16 -> memory.setAtIndex(ValueLayout.JAVA_SHORT, index, Float.floatToFloat16(value));
            default -> memory.setAtIndex(ValueLayout.JAVA_SHORT, index, (short) (Float.floatToRawIntBits(value) >>> 16));
        }
    }

    private static double get(Operand operand, long... index) {
        long at = 0;
        for (int i = 0; i < index.length; i++) {
            at += index[i] * operand.layout().stride(i);
        }
        MemorySegment memory = operand.segment();
        return switch (operand.layout().dtype()) {
            case F32 -> memory.getAtIndex(ValueLayout.JAVA_FLOAT, at);
            case F16 -> Float.float16ToFloat(memory.getAtIndex(ValueLayout.JAVA_SHORT, at));
            default -> Float.intBitsToFloat(memory.getAtIndex(ValueLayout.JAVA_SHORT, at) << 16);
        };
    }
}
