// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** Which kernel a product takes on the CPU must not show but in its speed. */
class CpuGemmTest {
    private static float[] values(int count, int seed) {
        float[] v = new float[count];
        for (int i = 0; i < count; i++) {
            // small integers: sums are exact in any order
            v[i] = (i * 7 + seed * 13) % 9 - 4;
        }
        return v;
    }

    @Test
    void theRuleIsThatOfTheTable() {
        assertTrue(CpuGemm.own(12608, 768, 192));
        assertTrue(CpuGemm.own(12608, 192, 768));
        assertTrue(CpuGemm.own(768, 192, 12608));
        assertFalse(CpuGemm.own(192, 768, 12608));
        assertFalse(CpuGemm.own(2048, 2048, 2048));
        assertFalse(CpuGemm.own(512, 256, 128));
    }

    /** y = x·wᵀ + b, and its gradients into a parameter's buffer, twice, so that the second is added to the first. */
    private static float[][] linear(int rows, int in, int out, int threads) {
        try (Device device = Device.cpu(threads)) {
            Scope scope = device.scope();
            Tape tape = Tape.on(scope.open());
            Tensor gw = scope.zeros(out, in);
            Tensor gb = scope.zeros(out);
            Tensor x = tape.watch(scope.of(values(rows * in, 3), rows, in));
            Tensor w = tape.watch(scope.of(values(out * in, 1), out, in), gw);
            Tensor b = tape.watch(scope.of(values(out, 2), out), gb);
            Tensor dy = scope.of(values(rows * out, 4), rows, out);
            Tensor y = x.linear(w, b);
            tape.backward(y.mul(dy).sum());
            float[] once = gw.toArray();
            tape.backward(x.linear(w, b).mul(dy).sum());
            float[] twice = gw.toArray();
            for (int i = 0; i < once.length; i++) {
                assertEquals(2 * once[i], twice[i]);
            }
            return new float[][] {y.toArray(), tape.gradient(x).toArray(), twice, gb.toArray()};
        }
    }

    @Test
    void ownAndLibraryProductsOfALinearLayerAgree() {
        int rows = 4100;
        int in = 24;
        int out = 40;
        float[][] all = linear(rows, in, out, 2);
        float[] x = values(rows * in, 3);
        float[] w = values(out * in, 1);
        float[] b = values(out, 2);
        float[] dy = values(rows * out, 4);
        float[] y = new float[rows * out];
        float[] dx = new float[rows * in];
        // the gradients of two passes
        float[] dw = new float[out * in];
        float[] db = new float[out];
        for (int r = 0; r < rows; r++) {
            for (int o = 0; o < out; o++) {
                float sum = b[o];
                float gradient = dy[r * out + o];
                db[o] += 2 * gradient;
                for (int i = 0; i < in; i++) {
                    sum += x[r * in + i] * w[o * in + i];
                    dx[r * in + i] += 2 * gradient * w[o * in + i];
                    dw[o * in + i] += 2 * gradient * x[r * in + i];
                }
                y[r * out + o] = sum;
            }
        }
        assertArrayEquals(y, all[0]);
        assertArrayEquals(dx, all[1]);
        assertArrayEquals(dw, all[2]);
        assertArrayEquals(db, all[3]);
        assertEquals(Arrays.deepToString(linear(rows, in, out, 1)), Arrays.deepToString(all));
    }
}
