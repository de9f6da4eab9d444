// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** How products are said to a library by columns: plans carried out literally give what the CPU's library gives. */
class CublasPlanTest {
    private static Operand operand(Arena arena, DType dtype, long offset, long[] shape, long... strides) {
        Layout layout = Layout.strided(dtype, shape, strides);
        return new Operand(arena.allocate(4096, 64).asSlice(offset), layout);
    }

    private static CublasPlan plan(Operand a, Operand b, Operand c) {
        return CublasPlan.of(a, b, c, Optional.empty());
    }

    private static long[] of(long... values) {
        return values;
    }

    @Test
    void plansCarriedOutLiterallyAgreeWithTheLibrary() {
        PlannedGemm planned = new PlannedGemm();
        try (Device device = Device.cpu(1, planned); Device library = Device.cpu(1)) {
            for (long[] s : new long[][] {{5, 7, 3}, {1, 4, 6}, {4, 1, 6}, {6, 5, 1}, {1, 1, 1}, {16, 8, 12}}) {
                for (int form = 0; form < 8; form++) {
                    float[] got = product(device, s, form);
                    float[] expected = product(library, s, form);
                    // s[2] products of at most 2 and twice c, which is at most 3, summed in some order with a rounding a step
                    assertArrayEquals(expected, got, (s[2] + 3) * 0x1p-24f * (2 * s[2] + 6), form + " of " + s[0] + "x" + s[1] + "x" + s[2]);
                }
            }
        }
        assertTrue(planned.plans.stream().anyMatch(p -> p.first().transposed() && p.second().transposed()));
        assertTrue(planned.plans.stream().anyMatch(p -> p.result().leading() > p.result().rows()));
    }

    /** a and b by rows or by columns, and all of them parts of wider matrices or not. */
    private static float[] product(Device device, long[] s, int form) {
        try (Scope scope = device.scope().open()) {
            Tensor a = matrix(scope, -1, s[0], s[2], (form & 1) != 0, (form & 4) != 0);
            Tensor b = matrix(scope, -2, s[2], s[1], (form & 2) != 0, (form & 4) != 0);
            Tensor c = matrix(scope, -3, s[0], s[1], false, (form & 4) != 0);
            device.gemm().multiply(device.stream(), 0.5f, a.operand(), b.operand(), (form & 4) != 0 ? 2f : 0f, c.operand());
            return c.contiguous().toArray();
        }
    }

    private static Tensor matrix(Scope scope, int low, long rows, long columns, boolean byColumns, boolean part) {
        long extra = part ? 3 : 0;
        return byColumns
                ? TapeTest.irregular(scope, low, 1, columns, rows + extra).slice(1, extra, rows + extra).transpose()
                : TapeTest.irregular(scope, low, 1, rows, columns + extra).slice(1, extra, columns + extra);
    }

    /** Gradients through the fused epilogues are those of the composed forms. */
    @Test
    void linearThroughEpiloguesHasTheSameGradients() {
        PlannedGemm planned = new PlannedGemm();
        try (Device fused = Device.cpu(1, planned); Device composed = Device.cpu(1)) {
            float[][] got = linear(fused, false);
            float[][] expected = linear(composed, false);
            // of magnitudes, everything is the sum of its terms' magnitudes
            float[][] sizes = linear(composed, true);
            // additions and products one after the other, forward and back: 6 + 4 + 6, the loss, and twice 8 + 4 + 6 at most, on each side
            float roundings = 2 * (16 + 2 + 36);
            for (int i = 0; i < got.length; i++) {
                for (int j = 0; j < got[i].length; j++) {
                    assertEquals(expected[i][j], got[i][j], roundings * 0x1p-24f * sizes[i][j], "tensor " + i);
                }
            }
        }
        assertTrue(planned.plans.stream().anyMatch(p -> p.epilogue().equals(Optional.of(Gemm.Epilogue.BIAS))));
        assertTrue(planned.plans.stream().anyMatch(p -> p.epilogue().equals(Optional.of(Gemm.Epilogue.BIAS_GRADIENT))));
    }

    /** The result and all gradients of a linear layer used twice, whose parameters have buffers, and of one whose have none. */
    private static float[][] linear(Device device, boolean magnitudes) {
        try (Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Tensor gw = values(scope, magnitudes, 3, 5);
            Tensor gb = values(scope, magnitudes, 3);
            Tensor x = tape.watch(values(scope, magnitudes, 2, 4, 5));
            Tensor w = tape.watch(values(scope, magnitudes, 3, 5), gw);
            Tensor b = tape.watch(values(scope, magnitudes, 3), gb);
            Tensor v = tape.watch(values(scope, magnitudes, 5, 3));
            Tensor d = tape.watch(values(scope, magnitudes, 5));
            Tensor y = x.linear(w, b).linear(v, d).linear(w, b);
            tape.backward(y.square().sum());
            return new float[][] {
                y.toArray(), gw.toArray(), gb.toArray(), tape.gradient(x).toArray(), tape.gradient(v).toArray(), tape.gradient(d).toArray()
            };
        }
    }

    private static Tensor values(Scope scope, boolean magnitudes, long... shape) {
        float[] v = TapeTest.irregular(scope, -1, 1, shape).toArray();
        for (int i = 0; i < v.length && magnitudes; i++) {
            v[i] = Math.abs(v[i]);
        }
        return scope.of(v, shape);
    }

    @Test
    void equalPlansAreOneKey() {
        try (Arena arena = Arena.ofConfined()) {
            Operand a = operand(arena, DType.BF16, 0, of(4, 8), 8, 1);
            Operand b = operand(arena, DType.BF16, 0, of(8, 16), 16, 1);
            Operand c = operand(arena, DType.BF16, 0, of(4, 16), 16, 1);
            CublasPlan plan = plan(a, b, c);
            assertEquals(plan, plan(operand(arena, DType.BF16, 64, of(4, 8), 8, 1), b, c));
            assertEquals(plan, plan(operand(arena, DType.BF16, 16, of(4, 8), 8, 1), b, c));
            assertEquals(plan.hashCode(), plan(operand(arena, DType.BF16, 16, of(4, 8), 8, 1), b, c).hashCode());
            assertNotEquals(plan, plan(operand(arena, DType.BF16, 8, of(4, 8), 8, 1), b, c));
            assertNotEquals(plan, plan(operand(arena, DType.BF16, 0, of(4, 8), 1, 4), b, c));
            assertNotEquals(plan, plan(operand(arena, DType.BF16, 0, of(4, 8), 10, 1), b, c));
            assertNotEquals(plan, plan(a, b, operand(arena, DType.F32, 0, of(4, 16), 16, 1)));
            assertNotEquals(plan, CublasPlan.of(a, b, c, Optional.of(Gemm.Epilogue.BIAS)));
            assertEquals("bf16(4, 8) by bf16(8, 16) into bf16(4, 16)", plan.describe());
            assertEquals(8, plan(operand(arena, DType.BF16, 8, of(4, 8), 8, 1), b, c).second().alignment());
        }
    }

    @Test
    void rowsOrColumnsOfOneElementAreReadEitherWay() {
        try (Arena arena = Arena.ofConfined()) {
            Operand row = operand(arena, DType.F32, 0, of(1, 8), 1, 1);
            Operand column = operand(arena, DType.F32, 0, of(8, 1), 1, 1);
            CublasPlan plan = plan(row, column, operand(arena, DType.F32, 0, of(1, 1), 5, 7));
            assertEquals(new CublasPlan.Matrix(8, 1, 8, false, 16), plan.second());
            assertEquals(new CublasPlan.Matrix(1, 8, 1, false, 16), plan.first());
            assertEquals(1, plan.result().leading());
            assertTrue(plan(operand(arena, DType.F32, 0, of(4, 0), 0, 1), operand(arena, DType.F32, 0, of(0, 2), 2, 1),
                    operand(arena, DType.F32, 0, of(4, 2), 2, 1)).empty());
        }
    }

    @Test
    void whatCannotBeMultipliedIsNamed() {
        try (Arena arena = Arena.ofConfined()) {
            Operand a = operand(arena, DType.F32, 0, of(4, 8), 8, 1);
            Operand b = operand(arena, DType.F32, 0, of(8, 2), 2, 1);
            Operand c = operand(arena, DType.F32, 0, of(4, 2), 2, 1);
            refused("the shapes do not fit: a f32[4, 8], b f32[4, 8], c f32[4, 2]", a, a, c);
            refused("a and b have one dtype", a, operand(arena, DType.BF16, 0, of(8, 2), 2, 1), c);
            refused("a and b have one dtype", a, b, operand(arena, DType.BF16, 0, of(4, 2), 2, 1));
            refused("neither contiguous rows nor contiguous columns", operand(arena, DType.F32, 0, of(4, 8), 16, 2), b, c);
            refused("neither contiguous rows nor contiguous columns", operand(arena, DType.F32, 0, of(4, 8), 4, 1), b, c);
            refused("the rows of c are not contiguous", a, b, operand(arena, DType.F32, 0, of(4, 2), 1, 4));
            refused("does not fit into its 4 bytes", new Operand(a.segment().asSlice(0, 4), a.layout()), b, c);
            refused("memory must be native", new Operand(MemorySegment.ofArray(new float[32]), a.layout()), b, c);
            refused("c is read-only", a, b, new Operand(c.segment().asReadOnly(), c.layout()));
        }
    }

    private static void refused(String why, Operand a, Operand b, Operand c) {
        GatunException e = assertThrows(GatunException.class, () -> plan(a, b, c));
        assertTrue(e.getMessage().contains(why), e.getMessage());
        assertEquals(GatunException.Status.INVALID_ARGUMENT, e.status());
    }
}
