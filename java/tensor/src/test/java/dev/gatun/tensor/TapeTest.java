// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.tensor.function.Activation;
import dev.gatun.tensor.function.GatherRows;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class TapeTest {
    private Device device;
    private Scope scope;

    @BeforeEach
    void open() {
        device = Device.cpu(1);
        scope = device.scope();
    }

    @AfterEach
    void close() {
        device.close();
    }

    static Tensor irregular(Scope scope, float low, float high, long... shape) {
        float[] v = new float[(int) Shapes.elements(shape)];
        for (int i = 0; i < v.length; i++) {
            double t = (i + 3) * 0.7548776662466927;
            v[i] = (float) (low + (high - low) * (t - Math.floor(t)));
        }
        return scope.of(v, shape);
    }

    @Test
    void gradientsOfElementaryOperations() {
        Tensor a = irregular(scope, -2, 2, 3, 4);
        Tensor b = irregular(scope, 1, 2, 4);
        Tensor p = irregular(scope, .5f, 3, 2, 3);
        GradientCheck.check(in -> in[0].add(in[1]), a, b);
        GradientCheck.check(in -> in[1].sub(in[0]), a, b);
        GradientCheck.check(in -> in[0].mul(in[1]), a, b);
        GradientCheck.check(in -> in[0].div(in[1]), a, b);
        GradientCheck.check(in -> in[0].mul(in[1]).div(in[1]).add(in[0]), a, irregular(scope, 1, 2, 3, 1));
        GradientCheck.check(in -> in[0].exp(), a);
        GradientCheck.check(in -> in[0].log(), p);
        GradientCheck.check(in -> in[0].sqrt(), p);
        GradientCheck.check(in -> in[0].square().neg().mul(.3f).add(2), p);
    }

    @Test
    void gradientsOfReductionsViewsAndProducts() {
        Tensor a = irregular(scope, -2, 2, 3, 4);
        Tensor b = irregular(scope, -1, 2, 4, 5);
        GradientCheck.check(in -> in[0].sum(), a);
        GradientCheck.check(in -> in[0].mean(), a);
        GradientCheck.check(in -> in[0].sum(0).mul(in[0].mean(1).sum()), a);
        GradientCheck.check(in -> in[0].transpose().reshape(2, 6), a);
        GradientCheck.check(in -> in[0].slice(1, 1, 3).reshape(6), a);
        GradientCheck.check(in -> Tensor.concat(1, in[0], in[0].slice(1, 0, 2).exp()), a);
        GradientCheck.check(in -> in[0].matmul(in[1]), a, b);
        GradientCheck.check(in -> in[0].matmulTransposed(in[1].transpose()), a, b);
        GradientCheck.check(in -> in[0].reshape(1, 3, 4).matmul(in[1]), a, b);
        GradientCheck.check(in -> in[0].slice(0, 1, 3).matmul(in[1].slice(1, 1, 4)), a, b);
    }

    /** Gradients are added to and overwritten in place where one slot owns them; these are the cases where none may. */
    @Test
    void sharedGradientsAreNotChangedInPlace() {
        try (Scope step = scope.open()) {
            Tape tape = Tape.on(step);
            Tensor x = tape.watch(step.of(new float[] {2, -3, 5}, 3));
            // both sides of the sum get the same gradient, and each adds more to its own
            Tensor a = x.mul(1);
            Tensor b = x.mul(1);
            // behind a product, so that the gradient lies in the sweep's memory; the user's own is never changed
            Tensor y = Activation.relu(a).add(b.mul(10)).add(a.add(b)).mul(1);
            Tensor dy = step.of(new float[] {1, 2, 3}, 3);
            tape.backward(y, dy);
            assertArrayEquals(new float[] {1, 2, 3}, dy.toArray());
            assertArrayEquals(new float[] {13, 24, 39}, tape.gradient(x).toArray());
            // the seed itself goes to both losses
            Tensor u = x.square().sum();
            Tensor v = x.mul(3).sum();
            List<Tensor> losses = tape.gradients(u.add(v).add(u), List.of(u, v, x), false);
            assertEquals(2, losses.get(0).item());
            assertEquals(1, losses.get(1).item());
            assertArrayEquals(new float[] {11, -9, 23}, losses.get(2).toArray());
            // the gradient of a result that is asked for stays what it is while that of its input is computed
            Tensor r = Activation.relu(x);
            List<Tensor> both = tape.gradients(r.square().sum(), List.of(r, x), false);
            assertArrayEquals(new float[] {4, 0, 10}, both.get(0).toArray());
            assertArrayEquals(new float[] {4, 0, 10}, both.get(1).toArray());
            Tensor shifted = x.add(4);
            Tensor s = Activation.relu(shifted.add(-2));
            List<Tensor> kept = tape.gradients(s.sum().add(s.sum()), List.of(s, x), false);
            assertArrayEquals(new float[] {2, 2, 2}, kept.get(0).toArray());
            assertArrayEquals(new float[] {2, 0, 2}, kept.get(1).toArray());
        }
    }

    /** Keeps nothing but its input: backward computes the result once more, on a tape of its own. */
    private static final class Recomputed implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            c.save(in[0]);
            return in[0].detach().square();
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            Tape inner = Tape.on(c.scope());
            Tensor x = inner.watch(c.saved(0).detach());
            inner.backward(x.square(), g[0]);
            return new Tensor[] {inner.gradient(x)};
        }
    }

    @Test
    void anotherTapesSweepLeavesTheGradientThatItIsGiven() {
        Tape tape = Tape.on(scope.open());
        Tensor x = tape.watch(scope.of(new float[] {1, 2, 3}));
        // both sides of the sum share one gradient, and the right side's goes through the other tape first
        Tensor sum = x.mul(3).add(Function.apply(new Recomputed(), x.mul(2)));
        tape.backward(sum.mul(scope.of(new float[] {1, 2, 3})).sum());
        assertArrayEquals(new float[] {11, 38, 81}, tape.gradient(x).toArray());
    }

    @Test
    void whatWasOverwrittenIsNotComputedAgain() {
        Tensor rows = GatherRows.apply(irregular(scope, -2, 2, 3, 4), scope.ofInts(new int[] {0, 1}));
        rows.fill(7);
        assertThrows(TensorException.class, rows::release);
    }

    @Test
    void gathersAddUpInWhateverGradientThereIs() {
        int[] indices = {2, 0, 2, 2, 0, 2, 2};
        for (Tensor buffer : List.of(scope.zeros(3, 4), scope.zeros(3, 6).slice(1, 1, 5), scope.zeros(4, 3).transpose())) {
            Tape tape = Tape.on(scope);
            Tensor x = tape.watch(irregular(scope, -2, 2, 3, 4), buffer);
            Tensor a = x.mul(1);
            Tensor picked = GatherRows.apply(x, scope.ofInts(indices)).sum().add(GatherRows.apply(a, scope.ofInts(indices)).sum());
            tape.backward(picked.add(a.mul(3).sum()));
            assertArrayEquals(new float[] {7, 3, 13}, buffer.mean(1).toArray());
        }
    }

    @Test
    void releasedResultsAreComputedAgainForTheGradient() {
        Tensor indices = scope.ofInts(new int[] {2, 0});
        float[] expected = null;
        for (boolean release : new boolean[] {false, true}) {
            Tape tape = Tape.on(scope.open());
            Tensor x = tape.watch(irregular(scope, -2, 2, 3, 4));
            Tensor rows = GatherRows.apply(x, indices);
            Tensor y = rows.reshape(4, 2).matmulTransposed(rows.slice(1, 0, 2)).square().sum();
            long live = device.liveBytes();
            if (release) {
                rows.release();
                assertTrue(device.liveBytes() < live);
                assertThrows(TensorException.class, rows::toArray);
            }
            tape.backward(y);
            float[] gradient = tape.gradient(x).toArray();
            assertArrayEquals(expected == null ? gradient : expected, gradient);
            expected = gradient;
            assertEquals("release: f32(3, 4) cannot be computed again",
                    assertThrows(TensorException.class, () -> x.square().release()).getMessage());
        }
        Tape tape = Tape.on(scope.open());
        Tensor source = irregular(scope, -2, 2, 3, 4);
        Tensor rows = GatherRows.apply(tape.watch(source), indices);
        Tensor y = rows.square().sum();
        rows.release();
        source.fill(1);
        assertEquals("GatherRows: f32(3, 4), from which a result is computed again for the gradient, was overwritten or closed before backward",
                assertThrows(TensorException.class, () -> tape.backward(y)).getMessage());
    }

    /** A source that went, or changed, first: the rows stay for the gradient instead of being computed again. */
    @Test
    void rowsWhoseSourceIsGoneStay() {
        Tensor indices = scope.ofInts(new int[] {2, 0});
        float[] expected = null;
        for (String first : List.of("", "discarded", "overwritten")) {
            Tape tape = Tape.on(scope.open());
            Tensor x = tape.watch(irregular(scope, -2, 2, 3, 4));
            Tensor source = x.add(1);
            Tensor rows = GatherRows.apply(source, indices);
            Tensor y = rows.square();
            long live = device.liveBytes();
            if (first.equals("discarded")) {
                Scope.discard(source, x, rows, y);
                assertTrue(device.liveBytes() < live);
                assertThrows(TensorException.class, rows::release);
            } else if (first.equals("overwritten")) {
                source.detach().fill(1);
                assertThrows(TensorException.class, rows::release);
            }
            Scope.discard(rows, x, y);
            assertEquals(first.isEmpty(), !rows.isLive());
            tape.lastBackward(y.sum());
            assertTrue(!rows.isLive());
            float[] gradient = tape.gradient(x).toArray();
            assertArrayEquals(expected == null ? gradient : expected, gradient);
            expected = gradient;
        }
    }

    @Test
    void gradientsAddUpOverUsesAndBackwards() {
        Tensor buffer = scope.full(100, 2);
        try (Scope step = scope.open()) {
            Tape tape = Tape.on(step);
            Tensor w = tape.watch(scope.of(new float[] {2, 3}), buffer);
            Tensor y = w.mul(w).add(w).add(w).sum();
            tape.backward(y);
            assertArrayEquals(new float[] {106, 108}, buffer.toArray());
            tape.backward(y.mul(10));
            assertArrayEquals(new float[] {166, 188}, buffer.toArray());
            Tensor v = tape.watch(scope.of(new float[] {1}));
            tape.backward(v.mul(3).sum());
            tape.backward(v.mul(4).sum());
            assertArrayEquals(new float[] {7}, tape.gradient(v).toArray());
            assertArrayEquals(new float[] {0, 0}, tape.gradient(tape.watch(scope.zeros(2))).toArray());
        }
        assertArrayEquals(new float[] {166, 188}, buffer.toArray());
    }

    @Test
    void aMatrixGradientGoesStraightIntoItsBuffer() {
        Tensor x = irregular(scope, -1, 1, 5, 3);
        Tensor w = irregular(scope, -1, 1, 4, 3);
        Tensor buffer = scope.full(1, 4, 3);
        Tape tape = Tape.on(scope);
        Tensor plain = tape.watch(w.copy(scope));
        tape.backward(x.matmulTransposed(plain).square().sum());
        tape.backward(x.matmulTransposed(tape.watch(w, buffer)).square().sum());
        float[] expected = tape.gradient(plain).add(1).toArray();
        assertArrayEquals(expected, buffer.toArray(), 1e-5f);
    }

    @Test
    void secondDerivatives() {
        Tensor x = irregular(scope, .5f, 2, 6);
        // d/dx of sum (d/dx x^4)^2 = d/dx 16 x^6 = 96 x^5
        Tape tape = Tape.on(scope);
        Tensor w = tape.watch(x);
        Tensor y = w.square().square().sum();
        Tensor g = tape.gradients(y, List.of(w), true).getFirst();
        assertTrue(g.tracked());
        tape.backward(g.square().sum());
        float[] expected = new float[6];
        for (int i = 0; i < 6; i++) {
            expected[i] = (float) (96 * Math.pow(x.toArray()[i], 5));
        }
        assertArrayEquals(expected, tape.gradient(w).toArray(), 96 * 32 * 1e-5f);
    }

    @Test
    void gradientPenaltyChecksAgainstDifferences() {
        Tensor x = irregular(scope, -1, 1, 4, 3);
        Tensor w = irregular(scope, -1, 1, 3, 2);
        // the function is itself a gradient: |d/dx sum exp(xw)|²
        Function penalty = new Function() {
            @Override
            public Tensor forward(FunctionContext c, Tensor... in) {
                Tape inner = Tape.on(c.scope());
                Tensor v = inner.watch(in[0].detach());
                Tensor s = v.matmul(in[1].detach()).exp().sum();
                return inner.gradients(s, List.of(v), false).getFirst().square().sum();
            }

            @Override
            public Tensor[] backward(FunctionContext c, Tensor... g) {
                throw new AssertionError();
            }
        };
        Tape tape = Tape.on(scope);
        Tensor tx = tape.watch(x);
        Tensor tw = tape.watch(w);
        Tensor s = tx.matmul(tw).exp().sum();
        tape.backward(tape.gradients(s, List.of(tx), true).getFirst().square().sum());
        float[] gw = tape.gradient(tw).toArray();
        for (int i = 0; i < gw.length; i++) {
            float[] up = w.toArray();
            float[] down = w.toArray();
            up[i] += 1f / 128;
            down[i] -= 1f / 128;
            double d = (Function.apply(penalty, x, scope.of(up, 3, 2)).item()
                            - Function.apply(penalty, x, scope.of(down, 3, 2)).item())
                    * 64.0;
            assertEquals(d, gw[i], 2e-2 * Math.max(1, Math.abs(d)));
        }
    }

    @Test
    void gradientsWithoutGraphTouchNoBuffer() {
        Tensor buffer = scope.zeros(3);
        Tape tape = Tape.on(scope);
        Tensor w = tape.watch(scope.of(new float[] {1, 2, 3}), buffer);
        Tensor hidden = w.mul(2);
        List<Tensor> g = tape.gradients(hidden.square().sum(), List.of(w, hidden, tape.watch(scope.zeros(2))), false);
        assertArrayEquals(new float[] {8, 16, 24}, g.get(0).toArray());
        assertArrayEquals(new float[] {4, 8, 12}, g.get(1).toArray());
        assertArrayEquals(new float[] {0, 0}, g.get(2).toArray());
        assertFalse(g.get(0).tracked());
        assertArrayEquals(new float[] {0, 0, 0}, buffer.toArray());
    }

    private record Cube(float wrong) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            c.save(in[0]);
            return in[0].mul(in[0]).mul(in[0]);
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].mul(c.saved(0).square()).mul(3 * wrong)};
        }

        @Override
        public String composedForm() {
            return "x.mul(x).mul(x)";
        }
    }

    @Test
    void gradientCheckFindsAWrongBackward() {
        Tensor x = irregular(scope, .5f, 2, 3, 3);
        GradientCheck.check(in -> Function.apply(new Cube(1f), in), x);
        assertThrows(
                AssertionError.class, () -> GradientCheck.check(in -> Function.apply(new Cube(1.002f), in), x));
        assertThrows(AssertionError.class, () -> GradientCheck.check(in -> in[0].detach().mul(2), x));
        assertThrows(
                AssertionError.class, () -> GradientCheck.check(in -> in[0].mul(in[0].detach()), x));
    }

    @Test
    void anOperationWithoutSecondDerivativeSaysSo() {
        Tape tape = Tape.on(scope);
        Tensor x = tape.watch(scope.of(new float[] {1, 2}));
        Tensor y = Function.apply(new Cube(1), x).sum();
        TensorException e = assertThrows(TensorException.class, () -> tape.gradients(y, List.of(x), true));
        assertTrue(e.getMessage().contains("Cube has no second derivative; use x.mul(x).mul(x)"), e.getMessage());
        tape.backward(y);
        assertArrayEquals(new float[] {3, 12}, tape.gradient(x).toArray());
    }

    @Test
    void misuseIsAnError() {
        Tape one = Tape.on(scope);
        Tape two = Tape.on(scope);
        Tensor a = one.watch(scope.zeros(2));
        Tensor b = two.watch(scope.zeros(2));
        assertThrows(TensorException.class, () -> a.add(b));
        assertThrows(TensorException.class, () -> two.backward(a.sum()));
        assertThrows(TensorException.class, () -> one.backward(a));
        assertThrows(TensorException.class, () -> one.backward(scope.zeros()));
        assertThrows(TensorException.class, () -> one.watch(a));
        assertThrows(TensorException.class, () -> one.watch(scope.ofInts(new int[] {1})));
        assertThrows(TensorException.class, () -> one.watch(scope.zeros(2), scope.zeros(3)));
        assertThrows(TensorException.class, () -> one.gradient(a.mul(2)));
        assertFalse(a.detach().tracked());
        a.detach().add(b);
    }

    @Test
    void overwritingASavedTensorIsAnError() {
        Tensor x = scope.of(new float[] {1, 2});
        Tape tape = Tape.on(scope);
        Tensor y = tape.watch(x).square().sum();
        x.fill(5);
        TensorException e = assertThrows(TensorException.class, () -> tape.backward(y));
        assertTrue(e.getMessage().contains("overwritten"), e.getMessage());
    }

    @Test
    void closingTheScopeOfASavedTensorIsAnError() {
        Tape tape = Tape.on(scope);
        Tensor w = tape.watch(scope.of(new float[] {1, 2}));
        Scope inner = scope.open();
        Tensor y = w.mul(inner.full(2, 2)).sum().keep(scope);
        assertFalse(y.tracked());
        Tensor z = w.mul(inner.full(2, 2));
        inner.close();
        assertThrows(TensorException.class, () -> z.sum());
    }

    @Test
    void aSweepGivesItsMemoryBack() {
        try (Scope step = scope.open()) {
            Tape tape = Tape.on(step);
            Tensor x = tape.watch(step.full(1, 1000));
            Tensor y = x;
            for (int i = 0; i < 50; i++) {
                y = y.mul(1.01f).add(y);
            }
            Tensor loss = y.sum();
            long before = device.liveBytes();
            tape.backward(loss);
            // the gradient of x is all that stays, and a sweep over 100 operations never held more than a few
            assertEquals(before + Allocator.sizeClass(4000), device.liveBytes());
            assertTrue(device.peakBytes() <= before + 8 * Allocator.sizeClass(4000), device.peakBytes() - before + " bytes");
            assertEquals(Math.pow(2.01, 50), tape.gradient(x).toArray()[0], Math.pow(2.01, 50) * 1e-4);
        }
    }

    @Test
    void aUsersFunctionMayReturnItsInput() {
        Function identity = new Function() {
            @Override
            public Tensor forward(FunctionContext c, Tensor... in) {
                return in[0];
            }

            @Override
            public Tensor[] backward(FunctionContext c, Tensor... g) {
                return new Tensor[] {g[0].mul(-1f)};
            }
        };
        Tape tape = Tape.on(scope);
        Tensor x = tape.watch(scope.of(new float[] {1, 2}));
        tape.backward(Function.apply(identity, x).mul(3).sum());
        assertArrayEquals(new float[] {-3, -3}, tape.gradient(x).toArray());
    }

    @Test
    void theLastBackwardGivesBackWhatNobodyElseUses() {
        int links = 8;
        long size = 64 * 64 * Float.BYTES;
        try (Device device = Device.cpu(1)) {
            Tensor w = device.scope().full(.01f, 64, 64);
            Tensor input = device.scope().full(.5f, 64, 64);
            float[][] gradients = new float[2][];
            for (int last = 0; last < 2; last++) {
                try (Scope scope = device.scope().open()) {
                    Tape tape = Tape.on(scope);
                    Tensor x = tape.watch(input);
                    Tensor v = tape.watch(w);
                    Tensor y = x;
                    Tensor seen = x;
                    for (int i = 0; i < links; i++) {
                        Tensor next = y.matmul(v);
                        if (i == 4) {
                            seen = next;  // used by somebody else: it is not discarded
                        }
                        if (y != seen) {
                            Scope.discard(y, next, x);
                        }
                        y = next;
                    }
                    Tensor loss = y.square().mean();
                    long before = device.liveBytes();
                    if (last == 0) {
                        tape.backward(loss);
                    } else {
                        tape.lastBackward(loss);
                    }
                    gradients[last] = tape.gradient(x).toArray();
                    // two gradients came up; of what the links between made, all but one that is used elsewhere and the last went
                    long gone = last == 0 ? 0 : (links - 2) * size;
                    assertEquals(before + 2 * size - gone, device.liveBytes());
                    assertTrue(seen.finite());
                    if (last == 1) {
                        TensorException error = assertThrows(TensorException.class, () -> tape.backward(loss));
                        assertTrue(error.getMessage().contains("closed before backward"), error.getMessage());
                    }
                }
            }
            assertArrayEquals(gradients[0], gradients[1]);
        }
    }
}
