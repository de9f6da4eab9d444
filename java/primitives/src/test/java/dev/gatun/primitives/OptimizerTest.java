// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class OptimizerTest {
    private static final int N = 300;
    private static final int SPLIT = 100;
    private final float[] start = Native.normal(N, 1);
    private final float[] slope = Native.normal(N, 2);

    /** Two tensors; the second has half the learning rate and no decay. */
    private Optimizer.Parameters parameters(Native device) {
        return new Optimizer.Parameters(
                device.of(start, N),
                device.of(slope, N),
                device.of(new long[] {0, SPLIT, N}, 3),
                device.of(new float[] {1, 0.5f}, 2),
                device.of(new float[] {1, 0}, 2));
    }

    private static Optimizer.Control control(Native device, int skip) {
        return new Optimizer.Control(device.of(new float[] {0.1f}, 1), device.of(new float[] {2}, 1), device.of(new int[] {skip}, 1));
    }

    private static Operand zeros(Native device) {
        return device.of(new float[N], N);
    }

    @Test
    void adamwFollowsItsFormula() {
        try (Native device = new Native()) {
            Optimizer.Parameters parameters = parameters(device);
            Operand first = zeros(device);
            Operand second = zeros(device);
            for (long step = 1; step <= 2; step++) {
                Operand number = device.of(new long[] {step}, 1);
                Optimizer.adamw(device.stream, parameters, first, second, number, control(device, 0), 0.9f, 0.99f, 1e-6f, 0.05f);
            }
            float[] values = Native.floats(parameters.values());
            for (int i = 0; i < N; i++) {
                double rate = i < SPLIT ? 0.1 : 0.05;
                double decay = i < SPLIT ? 0.05 : 0;
                double p = start[i];
                double m = 0;
                double v = 0;
                for (int step = 1; step <= 2; step++) {
                    m = 0.9 * m + 0.1 * 2 * slope[i];
                    v = 0.99 * v + 0.01 * 4 * slope[i] * slope[i];
                    p = p * (1 - rate * decay)
                            - rate * m / (1 - Math.pow(0.9, step)) / (Math.sqrt(v / (1 - Math.pow(0.99, step))) + 1e-6);
                }
                assertEquals(p, values[i], 8 * Math.ulp(4f));
            }
        }
    }

    @Test
    void sgdLarsAndLarcShareTheirMomentum() {
        try (Native device = new Native()) {
            double[] factors = new double[3];
            for (int rule = 0; rule < 3; rule++) {
                Optimizer.Parameters parameters = parameters(device);
                Operand velocity = zeros(device);
                MemorySegment workspace = device.arena.allocate(Optimizer.larsWorkspace(device.stream, parameters), 64);
                Optimizer.Control control = control(device, 0);
                if (rule == 0) {
                    Optimizer.sgd(device.stream, parameters, velocity, control, 0.9f, 0.05f, false);
                } else if (rule == 1) {
                    Optimizer.lars(device.stream, parameters, velocity, Operand.NONE, control, 0.9f, 0.05f, 0.5f, workspace);
                } else {
                    Optimizer.larc(device.stream, parameters, velocity, Operand.NONE, control, 0.9f, 0.05f, 0.5f, workspace);
                }
                float[] speed = Native.floats(velocity);
                factors[rule] = speed[0] / (2 * slope[0] + 0.05 * start[0]);
                float[] values = Native.floats(parameters.values());
                for (int i = 0; i < N; i++) {
                    assertEquals(start[i] - (i < SPLIT ? 0.1 : 0.05) * speed[i], values[i], 4 * Math.ulp(4f));
                }
            }
            double p = 0;
            double g = 0;
            double u = 0;
            for (int i = 0; i < SPLIT; i++) {
                p += (double) start[i] * start[i];
                g += 4.0 * slope[i] * slope[i];
                u += Math.pow(2 * slope[i] + 0.05 * start[i], 2);
            }
            assertEquals(1, factors[0], 1e-6);
            assertEquals(0.5 * Math.sqrt(p / u), factors[1], 1e-6);
            assertEquals(0.5 * Math.sqrt(p) / (Math.sqrt(g) + 0.05 * Math.sqrt(p) + 1e-8), factors[2], 1e-6);
        }
    }

    @Test
    void aSkippedUpdateChangesNothingAndTheGuardIsSetByANormThatIsNotFinite() {
        try (Native device = new Native()) {
            Optimizer.Parameters parameters = parameters(device);
            Operand velocity = zeros(device);
            parameters.gradients().segment().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, 7, Float.NaN);
            Optimizer.Control control = control(device, 0);
            Operand norm = device.empty(DType.F32, 1);
            MemorySegment workspace =
                    device.arena.allocate(Optimizer.gradientNormWorkspace(device.stream, parameters.gradients()), 64);
            Optimizer.gradientNorm(device.stream, parameters.gradients(), norm, Operand.NONE, control.skip(), 1, workspace);
            assertEquals(1, Native.ints(control.skip())[0]);
            Optimizer.sgd(device.stream, parameters, velocity, control, 0.9f, 0, true);
            assertArrayEquals(start, Native.floats(parameters.values()));
            Operand scale = device.empty(DType.F32, 1);
            Optimizer.gradientNorm(device.stream, device.of(new float[] {3, 4}, 2), norm, scale, Operand.NONE, 2, workspace);
            assertEquals(5f, Native.floats(norm)[0]);
            assertEquals(0.4f, Native.floats(scale)[0]);
        }
    }

    @Test
    void updatesAreCounted() {
        try (Native device = new Native()) {
            Operand step = device.of(new long[] {4}, 1);
            Optimizer.advance(device.stream, step, Operand.NONE);
            Optimizer.advance(device.stream, step, device.of(new int[] {1}, 1));
            Optimizer.advance(device.stream, step, device.of(new int[] {0}, 1));
            assertEquals(6, step.segment().get(ValueLayout.JAVA_LONG, 0));
        }
    }

    @Test
    void theAverageMoves() {
        try (Native device = new Native()) {
            Operand average = device.of(new float[] {1, 2, 3}, 3);
            Operand values = device.of(new float[] {3, 2, 1}, 3);
            Optimizer.ema(device.stream, average, values, device.of(new float[] {0.75f}, 1), Operand.NONE);
            assertArrayEquals(new float[] {1.5f, 2, 2.5f}, Native.floats(average));
        }
    }

    @Test
    void badOperandsAreNamed() {
        try (Native device = new Native()) {
            Optimizer.Parameters good = parameters(device);
            refused(device, new Optimizer.Parameters(good.values(), good.gradients(), device.of(new long[] {0, 500, N}, 3), good.rateScale(),
                    good.decayScale()), "offsets[1] is 500");
            refused(device, new Optimizer.Parameters(good.values(), good.gradients(), good.offsets(), device.of(new float[3], 3),
                    good.decayScale()), "rate_scale has shape (3), expected (2)");
            Operand small = new Operand(good.gradients().segment().asSlice(0, 40), good.gradients().layout());
            refused(device, new Optimizer.Parameters(good.values(), small, good.offsets(), good.rateScale(), good.decayScale()),
                    "gradients has 40 bytes");
        }
    }

    private static void refused(Native device, Optimizer.Parameters parameters, String message) {
        GatunException e = assertThrows(
                GatunException.class,
                () -> Optimizer.sgd(device.stream, parameters, zeros(device), control(device, 0), 0.9f, 0, false));
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}
