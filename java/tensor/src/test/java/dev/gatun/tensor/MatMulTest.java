// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunException;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products of every dtype against doubles, on the emulated device. */
class MatMulTest {
    private static final int M = 37;
    private static final int N = 24;
    private static final int K = 50;

    /** Values of a dtype and the same as f32. */
    private static Tensor stored(Scope scope, DType dtype, Tensor values) {
        Tensor t = scope.empty(dtype, values.shape());
        Kernels.copy(values, t);
        return t;
    }

    private static float[] read(Tensor t) {
        Tensor f = t.scope().empty(t.shape());
        Kernels.copy(t, f);
        return f.toArray();
    }

    /** Half the distance between neighbours at 1. */
    private static double rounding(DType dtype) {
        return switch (dtype) {
            case BF16 -> 0x1p-8;
            case F16 -> 0x1p-11;
            default -> 0x1p-24;
        };
    }

    /** c += a·b of row-major matrices in doubles, and the sums of magnitudes, from which the error of any order of summation is bounded. */
    private record Sums(double[] value, double[] size) {
        static Sums of(float[] a, boolean ta, float[] b, boolean tb, int m, int n, int k) {
            Sums s = new Sums(new double[m * n], new double[m * n]);
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < n; j++) {
                    for (int l = 0; l < k; l++) {
                        double term = (double) a[ta ? l * m + i : i * k + l] * b[tb ? j * k + l : l * n + j];
                        s.value[i * n + j] += term;
                        s.size[i * n + j] += Math.abs(term);
                    }
                }
            }
            return s;
        }

        void plus(float[] v, int columns) {
            for (int i = 0; i < value.length; i++) {
                float term = v.length == value.length ? v[i] : v[i % columns];
                value[i] += term;
                size[i] += Math.abs(term);
            }
        }

        /** terms sums in f32, each with a relative rounding, then one to the dtype of the result. */
        void check(float[] got, int terms, DType result) {
            assertEquals(value.length, got.length);
            double wrong = 0;
            for (int i = 0; i < got.length; i++) {
                double bound = (terms + 2) * 0x1p-24 * size[i] + rounding(result) * (Math.abs(value[i]) + terms * 0x1p-24 * size[i]);
                assertEquals(value[i], got[i], bound, "element " + i);
                wrong = Math.max(wrong, size[i] - 4 * bound);
            }
            // the bound is far below the result itself, so that it can be missed
            assertTrue(wrong > 0);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16", "F16"})
    void productsHaveTheirOperandsDtype(DType dtype) {
        try (Device device = Device.emulated()) {
            Scope scope = device.scope();
            Tensor x = stored(scope, dtype, TapeTest.irregular(scope, -1, 1, M, K));
            Tensor y = stored(scope, dtype, TapeTest.irregular(scope, -2, 1, K, N));
            Tensor w = stored(scope, dtype, TapeTest.irregular(scope, -2, 1, N, K));
            Tensor z = x.matmul(y);
            assertEquals(dtype, z.dtype());
            Sums.of(read(x), false, read(y), false, M, N, K).check(read(z), K, dtype);
            Sums.of(read(x), false, read(w), true, M, N, K).check(read(x.matmulTransposed(w)), K, dtype);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16", "F16"})
    void linearAddsTheBiasInTheSumsPrecision(DType dtype) {
        try (Device device = Device.emulated()) {
            Scope scope = device.scope();
            Tensor x = stored(scope, dtype, TapeTest.irregular(scope, -1, 1, M, K));
            Tensor w = stored(scope, dtype, TapeTest.irregular(scope, -2, 1, N, K));
            Tensor b = stored(scope, dtype, TapeTest.irregular(scope, 30, 40, N));
            Tensor wide = scope.empty(DType.F32, N);
            Kernels.copy(b, wide);
            Sums expected = Sums.of(read(x), false, read(w), true, M, N, K);
            expected.plus(read(b), N);
            Tensor z = x.linear(w, b);
            assertEquals(dtype, z.dtype());
            expected.check(read(z), K + 1, dtype);
            expected.check(read(x.linear(w, wide)), K + 1, dtype);
            assertEquals(3, x.reshape(1, M, K).linear(w, b).rank());
        }
    }

    /** The gradient of the weights goes into their f32 buffer without a rounding to bf16 between, and is added to what is there. */
    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void gradientsOfParametersAreAddedInF32(DType dtype) {
        try (Device device = Device.emulated()) {
            Scope scope = device.scope();
            Tensor x = stored(scope, dtype, TapeTest.irregular(scope, -1, 1, M, K));
            Tensor w = stored(scope, dtype, TapeTest.irregular(scope, -2, 1, N, K));
            Tensor b = stored(scope, dtype, TapeTest.irregular(scope, -1, 1, N));
            Tensor g = stored(scope, dtype, TapeTest.irregular(scope, -1, 1, M, N));
            Tensor gw = TapeTest.irregular(scope, 5, 6, N, K);
            Tensor gb = TapeTest.irregular(scope, 5, 6, N);
            float[] gwBefore = gw.toArray();
            float[] gbBefore = gb.toArray();
            MatMul.Affine linear = new MatMul.Affine();
            boolean[] all = {true, true, true};
            FunctionContext c = new FunctionContext(linear, scope, all, new boolean[] {false, true, true}, new Tensor[] {x, w, b});
            linear.forward(c, x, w, b);
            c.sweep(scope, all, new Tensor[] {null, gw, gb}, false, false);
            Tensor[] gradients = linear.backward(c, g);
            assertEquals(dtype, gradients[0].dtype());
            Sums.of(read(g), false, read(w), false, M, K, N).check(read(gradients[0]), N, dtype);
            assertNull(gradients[1]);
            Sums weights = Sums.of(read(g), true, read(x), false, N, K, M);
            weights.plus(gwBefore, K);
            weights.check(gw.toArray(), M + 1, DType.F32);
            float[] ones = new float[M];
            Arrays.fill(ones, 1);
            Sums biases = Sums.of(ones, false, read(g), false, 1, N, M);
            if (gradients[2] != null) {
                Kernels.accumulate(gb, gradients[2], 1f);
            }
            biases.plus(gbBefore, N);
            biases.check(gb.toArray(), M + 1, DType.F32);
        }
    }

    @Test
    void otherDtypesAndMixturesAreNamed() {
        try (Device device = Device.emulated(); Device cpu = Device.cpu(1)) {
            Scope scope = device.scope();
            Tensor x = scope.zeros(4, 3);
            Tensor half = stored(scope, DType.BF16, scope.zeros(3, 2));
            TensorException mixed = assertThrows(TensorException.class, () -> x.matmul(half));
            assertEquals("matmul: f32(4, 3) by bf16(3, 2)", mixed.getMessage().replace('[', '(').replace(']', ')'));
            assertThrows(TensorException.class, () -> scope.zeros(DType.I32, 4, 3).matmul(scope.zeros(DType.I32, 3, 2)));
            assertThrows(TensorException.class, () -> x.linear(scope.zeros(2, 3), stored(scope, DType.BF16, scope.zeros(2))));
            Tensor onCpu = cpu.scope().empty(DType.BF16, 2, 2);
            GatunException refused = assertThrows(GatunException.class, () -> onCpu.matmul(onCpu));
            assertTrue(refused.getMessage().contains("bf16"), refused.getMessage());
        }
    }
}
