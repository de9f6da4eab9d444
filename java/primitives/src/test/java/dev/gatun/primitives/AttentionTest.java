// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.Attention.Gradients;
import dev.gatun.primitives.Attention.Inputs;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class AttentionTest {
    private static final int BATCH = 2;
    private static final int TOKENS = 7;
    private static final int HEADS = 3;
    private static final int DEPTH = 5;
    private static final float SCALE = 0.4f;

    /** q, k or v as a view of one (B, N, 3, H, D) buffer. */
    private static Operand part(Operand buffer, int part) {
        long row = 3 * HEADS * DEPTH;
        Layout layout = Layout.strided(
                DType.F32, new long[] {BATCH, TOKENS, HEADS, DEPTH}, new long[] {TOKENS * row, row, DEPTH, 1});
        return new Operand(buffer.segment().asSlice((long) part * HEADS * DEPTH * Float.BYTES), layout);
    }

    private static Inputs inputs(Operand buffer) {
        return Inputs.batched(part(buffer, 0), part(buffer, 1), part(buffer, 2), SCALE);
    }

    private static Operand forward(Native device, Inputs inputs, Operand logSumExp) {
        Operand out = device.empty(DType.F32, inputs.q().layout().shape());
        MemorySegment workspace =
                device.arena.allocate(Attention.forwardWorkspace(device.stream, inputs, out, logSumExp), 64);
        Attention.forward(device.stream, inputs, out, logSumExp, workspace);
        return out;
    }

    /** Objective Σ out·dout in double, from the definition. */
    private static double objective(float[] qkv, float[] dout) {
        double sum = 0;
        for (int b = 0; b < BATCH; b++) {
            for (int h = 0; h < HEADS; h++) {
                for (int i = 0; i < TOKENS; i++) {
                    double total = 0;
                    double value = 0;
                    for (int j = 0; j < TOKENS; j++) {
                        double score = 0;
                        double gain = 0;
                        for (int c = 0; c < DEPTH; c++) {
                            score += (double) qkv[at(b, i, 0, h, c)] * qkv[at(b, j, 1, h, c)];
                            gain += (double) qkv[at(b, j, 2, h, c)]
                                    * dout[((b * TOKENS + i) * HEADS + h) * DEPTH + c];
                        }
                        double weight = Math.exp(SCALE * score);
                        total += weight;
                        value += weight * gain;
                    }
                    sum += value / total;
                }
            }
        }
        return sum;
    }

    private static int at(int b, int n, int part, int h, int c) {
        return (((b * TOKENS + n) * 3 + part) * HEADS + h) * DEPTH + c;
    }

    @Test
    void viewsOfOneBufferGiveTheGradientOfTheDefinition() {
        try (Native device = new Native()) {
            float[] qkv = Native.normal(BATCH * TOKENS * 3 * HEADS * DEPTH, 1);
            float[] gradient = Native.normal(BATCH * TOKENS * HEADS * DEPTH, 2);
            Operand buffer = device.of(qkv, qkv.length);
            Operand dbuffer = device.empty(DType.F32, qkv.length);
            Operand logSumExp = device.empty(DType.F32, BATCH, HEADS, TOKENS);
            Operand out = forward(device, inputs(buffer), logSumExp);
            double sum = 0;
            float[] values = Native.floats(out);
            for (int i = 0; i < values.length; i++) {
                sum += (double) values[i] * gradient[i];
            }
            assertEquals(objective(qkv, gradient), sum, 1e-5);

            Operand dout = device.of(gradient, BATCH, TOKENS, HEADS, DEPTH);
            Gradients gradients = new Gradients(part(dbuffer, 0), part(dbuffer, 1), part(dbuffer, 2));
            MemorySegment workspace = device.arena.allocate(
                    Attention.backwardWorkspace(device.stream, inputs(buffer), out, logSumExp, dout, gradients), 64);
            Attention.backward(device.stream, inputs(buffer), out, logSumExp, dout, gradients, workspace);
            float[] result = Native.floats(dbuffer);
            for (int i = 0; i < qkv.length; i += 11) {
                float[] moved = qkv.clone();
                moved[i] = qkv[i] + 0x1p-10f;
                double above = objective(moved, gradient);
                double width = moved[i];
                moved[i] = qkv[i] - 0x1p-10f;
                width -= moved[i];
                assertEquals((above - objective(moved, gradient)) / width, result[i], 1e-5);
            }
        }
    }

    @Test
    void aRaggedBatchAndABiasOfMinusInfinitySayTheSame() {
        try (Native device = new Native()) {
            float[] q = Native.normal(TOKENS * HEADS * DEPTH, 3);
            Operand rows = device.of(q, TOKENS, HEADS, DEPTH);
            Operand offsets = device.of(new int[] {0, 3, 3, TOKENS}, 4);
            Operand ragged = forward(device, Inputs.ragged(rows, rows, rows, offsets, SCALE), Operand.NONE);

            float[] bias = new float[TOKENS * TOKENS];
            for (int i = 0; i < TOKENS; i++) {
                for (int j = 0; j < TOKENS; j++) {
                    bias[i * TOKENS + j] = (i < 3) == (j < 3) ? 0 : Float.NEGATIVE_INFINITY;
                }
            }
            Operand tokens = device.of(q, 1, TOKENS, HEADS, DEPTH);
            Inputs biased = Inputs.batched(tokens, tokens, tokens, SCALE).withBias(device.of(bias, 1, 1, TOKENS, TOKENS));
            assertArrayEquals(Native.floats(forward(device, biased, Operand.NONE)), Native.floats(ragged), 1e-6f);
        }
    }

    @Test
    void aCausalQuerySeesOnlyItsPast() {
        try (Native device = new Native()) {
            float[] q = Native.normal(TOKENS * HEADS * DEPTH, 4);
            Operand tokens = device.of(q, 1, TOKENS, HEADS, DEPTH);
            float[] out = Native.floats(
                    forward(device, Inputs.batched(tokens, tokens, tokens, SCALE).asCausal(), Operand.NONE));
            for (int c = 0; c < HEADS * DEPTH; c++) {
                assertEquals(q[c], out[c], "the first query sees the first value only");
            }
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand rows = device.empty(DType.F32, TOKENS, HEADS, DEPTH);
            refused(
                    device,
                    Inputs.ragged(rows, rows, rows, device.of(new int[] {0, TOKENS + 1}, 2), SCALE),
                    rows,
                    "query_offsets[1] is 8, allowed are 0 to 7");
            Operand offsets = device.of(new int[] {0, TOKENS}, 2);
            refused(device, Inputs.ragged(rows, rows, rows, offsets, Float.NaN), rows, "scale is nan");
            Operand small = new Operand(rows.segment().asSlice(0, 8), rows.layout());
            refused(device, Inputs.ragged(rows, rows, small, offsets, SCALE), rows, "v has 8 bytes");
            Inputs good = Inputs.ragged(rows, rows, rows, offsets, SCALE);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> Attention.forward(device.stream, good, rows, Operand.NONE, device.arena.allocate(64, 64)));
            assertTrue(e.getMessage().contains("the workspace has 64 bytes"), e.getMessage());
        }
    }

    private static void refused(Native device, Inputs inputs, Operand out, String message) {
        GatunException e = assertThrows(GatunException.class, () -> {
            MemorySegment workspace = device.arena.allocate(1 << 22, 64);
            Attention.forward(device.stream, inputs, out, Operand.NONE, workspace);
        });
        assertEquals("attention_forward", e.operation());
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}
