// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.InfoNce.Gradients;
import dev.gatun.primitives.InfoNce.Inputs;
import dev.gatun.primitives.InfoNce.Result;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class InfoNceTest {
    private static final float TEMPERATURE = 0.3f;

    private static Result forward(Native device, Inputs inputs) {
        long rows = inputs.q().layout().size(0);
        Result result = new Result(
                device.empty(DType.F32, rows), device.empty(DType.F32, rows), device.empty(DType.I32, rows));
        MemorySegment workspace = device.arena.allocate(InfoNce.forwardWorkspace(device.stream, inputs, result), 64);
        InfoNce.forward(device.stream, inputs, result, workspace);
        return result;
    }

    private static void backward(Native device, Inputs inputs, Result result, Operand dloss, Gradients gradients) {
        MemorySegment workspace = device.arena.allocate(
                InfoNce.backwardWorkspace(device.stream, inputs, result.lse(), result.positives(), dloss, gradients), 64);
        InfoNce.backward(device.stream, inputs, result.lse(), result.positives(), dloss, gradients, workspace);
    }

    /** Σ_i dloss_i·loss_i of the definition, for the rows of q against those of k. */
    private static double objective(
            float[] q, float[] k, int depth, int[] queryGroups, int[] keyGroups, boolean self, float[] dloss) {
        double objective = 0;
        for (int i = 0; i < queryGroups.length; i++) {
            double total = 0;
            double positive = 0;
            int positives = 0;
            for (int j = 0; j < keyGroups.length; j++) {
                if (self && i == j) {
                    continue;
                }
                double score = 0;
                for (int c = 0; c < depth; c++) {
                    score += (double) q[i * depth + c] * k[j * depth + c] / TEMPERATURE;
                }
                total += Math.exp(score);
                if (queryGroups[i] >= 0 && queryGroups[i] == keyGroups[j]) {
                    positive += score;
                    positives++;
                }
            }
            objective += positives == 0 ? 0 : dloss[i] * (Math.log(total) - positive / positives);
        }
        return objective;
    }

    private static void slopes(java.util.function.ToDoubleFunction<float[]> objective, float[] at, Operand gradient) {
        float[] result = Native.floats(gradient);
        for (int i = 0; i < at.length; i++) {
            float[] moved = at.clone();
            moved[i] = at[i] + 0x1p-10f;
            double above = objective.applyAsDouble(moved);
            double width = moved[i];
            moved[i] = at[i] - 0x1p-10f;
            width -= moved[i];
            assertEquals((above - objective.applyAsDouble(moved)) / width, result[i], 2e-5);
        }
    }

    @Test
    void lossAndGradientAreThoseOfTheDefinition() {
        try (Native device = new Native()) {
            int depth = 3;
            float[] rows = Native.normal(6 * depth, 1);
            float[] bank = Native.normal(4 * depth, 2);
            float[] weights = Native.normal(6, 3);
            int[] groups = {2, 0, 2, -1, 0, 2};
            int[] bankGroups = {0, 2, 7, 2};
            Operand q = device.of(rows, 6, depth);
            Operand k = device.of(bank, 4, depth);
            Operand dloss = device.of(weights, 6);
            Operand dq = device.empty(DType.F32, 6, depth);
            Operand dk = device.empty(DType.F32, 4, depth);

            Inputs self = Inputs.self(q, device.of(groups, 6), TEMPERATURE);
            Result result = forward(device, self);
            assertArrayEquals(new int[] {2, 1, 2, 0, 1, 2}, Native.ints(result.positives()));
            assertEquals(objective(rows, rows, depth, groups, groups, true, weights), weighted(result.loss(), weights), 1e-4);
            backward(device, self, result, dloss, new Gradients(dq, Operand.NONE));
            slopes(x -> objective(x, x, depth, groups, groups, true, weights), rows, dq);

            Inputs two = new Inputs(q, k, device.of(groups, 6), device.of(bankGroups, 4), TEMPERATURE);
            result = forward(device, two);
            assertArrayEquals(new int[] {2, 1, 2, 0, 1, 2}, Native.ints(result.positives()));
            assertEquals(objective(rows, bank, depth, groups, bankGroups, false, weights), weighted(result.loss(), weights), 1e-4);
            backward(device, two, result, dloss, new Gradients(dq, dk));
            slopes(x -> objective(x, bank, depth, groups, bankGroups, false, weights), rows, dq);
            slopes(x -> objective(rows, x, depth, groups, bankGroups, false, weights), bank, dk);
        }
    }

    private static double weighted(Operand loss, float[] weights) {
        float[] values = Native.floats(loss);
        double sum = 0;
        for (int i = 0; i < values.length; i++) {
            sum += (double) weights[i] * values[i];
        }
        return sum;
    }

    @Test
    void theWorkspaceIsFarBelowTheMatrixOfScores() {
        try (Native device = new Native()) {
            int rows = 16384;
            Inputs inputs = Inputs.self(
                    device.of(Native.normal(rows * 16, 4), rows, 16), device.of(new int[rows], rows), TEMPERATURE);
            Result result = new Result(
                    device.empty(DType.F32, rows), device.empty(DType.F32, rows), device.empty(DType.I32, rows));
            long bytes = InfoNce.forwardWorkspace(device.stream, inputs, result);
            assertTrue(bytes < (long) rows * rows * Float.BYTES / 100, bytes + " bytes");
            Gradients gradients = new Gradients(device.empty(DType.F32, rows, 16), Operand.NONE);
            bytes = InfoNce.backwardWorkspace(
                    device.stream, inputs, result.lse(), result.positives(), result.loss(), gradients);
            assertTrue(bytes < (long) rows * rows * Float.BYTES / 100, bytes + " bytes");
            forward(device, inputs);
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand rows = device.empty(DType.F32, 4, 3);
            Operand groups = device.of(new int[4], 4);
            refused(device, Inputs.self(rows, groups, 0), "temperature is 0");
            refused(device, Inputs.self(rows, groups, Float.NaN), "temperature is nan");
            refused(device, Inputs.self(rows, device.of(new long[4], 4), 1), "query_groups is i64");
            refused(device, Inputs.self(rows, device.of(new int[5], 5), 1), "query_groups has shape (5), expected (4)");
            refused(device, new Inputs(rows, Operand.NONE, groups, groups, 1), "key_groups are given without k");
            refused(device, new Inputs(rows, device.empty(DType.F32, 4, 2), groups, groups, 1), "k has shape (4, 2)");
            Operand small = new Operand(rows.segment().asSlice(0, 8), rows.layout());
            refused(device, Inputs.self(small, groups, 1), "q has 8 bytes");
            Result result = new Result(device.empty(DType.F32, 4), Operand.NONE, Operand.NONE);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> InfoNce.forward(
                            device.stream, Inputs.self(rows, groups, 1), result, device.arena.allocate(64, 64)));
            assertTrue(e.getMessage().contains("the workspace has 64 bytes"), e.getMessage());
        }
    }

    private static void refused(Native device, Inputs inputs, String message) {
        GatunException e = assertThrows(GatunException.class, () -> {
            Result result = new Result(device.empty(DType.F32, 4), Operand.NONE, Operand.NONE);
            InfoNce.forward(device.stream, inputs, result, device.arena.allocate(1 << 20, 64));
        });
        assertEquals("info_nce_forward", e.operation());
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}
