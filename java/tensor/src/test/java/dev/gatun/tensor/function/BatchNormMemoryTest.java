// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.Pooling.Window;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.GradientCheck;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** Batch norms that do not keep what they can compute again. */
class BatchNormMemoryTest {
    private static final Window WINDOW = Window.of(3, 2, 1);

    private static Tensor normal(Scope scope, long seed, long... shape) {
        Tensor t = scope.empty(shape);
        SplittableRandom random = new SplittableRandom(seed);
        float[] values = new float[Math.toIntExact(t.elements())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return scope.of(values, shape);
    }

    private static RunningStatistics running(Scope scope, int channels) {
        return new RunningStatistics(scope.zeros(channels), scope.full(1f, channels), .1f, 1e-5);
    }

    @Test
    void pooled() {
        try (Device device = Device.cpu(2)) {
            Scope scope = device.scope();
            // values far enough apart that a small step changes no maximum
            float[] apart = new float[2 * 5 * 4 * 3];
            for (int i = 0; i < apart.length; i++) {
                apart[i] = (i * 37 % apart.length - apart.length / 2) * .05f;
            }
            GradientCheck.check(
                    in -> PooledBatchNorm.apply(in[0], in[1], in[2], running(scope, 3), WINDOW),
                    scope.of(apart, 2, 5, 4, 3),
                    scope.of(new float[] {.7f, -1.2f, 1}, 3),
                    scope.of(new float[] {.21f, .1f, -.3f}, 3));
            assertThrows(
                    TensorException.class,
                    () -> PooledBatchNorm.apply(
                            scope.zeros(2, 1, 1, 3), scope.zeros(3), scope.zeros(3), running(scope, 3), Window.of(3, 1, 0)));
        }
    }

    /** Three slices, the last a shorter one; and threads. */
    @Test
    void pooledIsBatchNormAndPooling() {
        List<List<float[]>> results = new ArrayList<>();
        for (int run = 0; run < 3; run++) {
            boolean composed = run == 0;
            try (Device device = Device.cpu(run == 2 ? 1 : 2); Scope scope = device.scope().open()) {
                Tape tape = Tape.on(scope);
                Tensor x = tape.watch(normal(scope, 1, 5, 512, 512, 3));
                Tensor gamma = tape.watch(normal(scope, 2, 3));
                Tensor beta = tape.watch(normal(scope, 3, 3));
                RunningStatistics running = running(scope, 3);
                Tensor y = composed
                        ? Pooling.max(BatchNorm.apply(x, gamma, beta, running, true), WINDOW)
                        : PooledBatchNorm.apply(x, gamma, beta, running, WINDOW);
                tape.backward(y, normal(scope, 4, y.shape()));
                results.add(List.of(
                        y.toArray(), running.mean().toArray(), running.variance().toArray(), tape.gradient(x).toArray(),
                        tape.gradient(gamma).toArray(), tape.gradient(beta).toArray()));
            }
        }
        for (int i = 0; i < 6; i++) {
            assertArrayEquals(results.get(1).get(i), results.get(2).get(i), "threads, " + i);
        }
        for (int i = 0; i < 3; i++) {
            assertArrayEquals(results.get(0).get(i), results.get(1).get(i), "result " + i);
        }
        // sums of 330 thousand gradients of about 1 in another order
        double size = Math.sqrt(results.getFirst().getFirst().length);
        assertArrayEquals(results.get(0).get(3), results.get(1).get(3), 1e-5f);
        assertArrayEquals(results.get(0).get(4), results.get(1).get(4), (float) (1e-5 * size));
        assertArrayEquals(results.get(0).get(5), results.get(1).get(5), (float) (1e-5 * size));
    }

    /** What a batch norm writes goes when it is discarded, what it reads once the gradients are there: the same gradients to the bit. */
    @Test
    void aDiscardedBatchNormIsComputedAgain() {
        long size = 64 * 64 * Float.BYTES;
        try (Device device = Device.cpu(2)) {
            float[][][] gradients = new float[2][][];
            for (int discard = 0; discard < 2; discard++) {
                try (Scope scope = device.scope().open()) {
                    Tape tape = Tape.on(scope);
                    Tensor x = tape.watch(normal(scope, 1, 64, 64));
                    Tensor v = tape.watch(normal(scope, 2, 64, 64));
                    Tensor gamma = tape.watch(normal(scope, 3, 64));
                    Tensor product = x.matmul(v);
                    Tensor y = BatchNorm.apply(product, gamma, scope.zeros(64), running(scope, 64), true);
                    Tensor z = y.matmul(v);
                    long before = device.liveBytes();
                    if (discard == 1) {
                        Scope.discard(product, x, y, z);
                        Scope.discard(y, x, product, z);
                        assertEquals(before - size, device.liveBytes());
                    }
                    Tensor loss = z.square().mean();
                    before = device.liveBytes();
                    tape.lastBackward(loss);
                    gradients[discard] = new float[][] {
                        tape.gradient(x).toArray(), tape.gradient(v).toArray(), tape.gradient(gamma).toArray()
                    };
                    // two gradients of that size and a small one came up
                    assertEquals(before + (2 - discard) * size + 64 * Float.BYTES, device.liveBytes());
                    assertTrue(x.finite());
                }
            }
            for (int i = 0; i < 3; i++) {
                assertArrayEquals(gradients[0][i], gradients[1][i]);
            }
        }
    }

    /** Of a batch norm that nothing is learned of, what it reads may go at once: then what it writes is kept. */
    @Test
    void whatHasNoGradientIsKept() {
        try (Device device = Device.cpu(2); Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Tensor x = normal(scope, 1, 64, 64);
            Tensor v = tape.watch(normal(scope, 2, 64, 64));
            Tensor product = x.matmul(normal(scope, 3, 64, 64));
            Tensor y = BatchNorm.apply(product, scope.full(1f, 64), scope.zeros(64), running(scope, 64), true);
            float[] expected = y.transpose(0, 1).matmul(scope.full(1f, 64, 64)).toArray();
            Tensor z = y.matmul(v);
            Scope.discard(product, x, y, z);
            Scope.discard(y, x, product, z);
            tape.lastBackward(z.sum());
            assertArrayEquals(expected, tape.gradient(v).toArray(), 1e-4f);
        }
    }
}
