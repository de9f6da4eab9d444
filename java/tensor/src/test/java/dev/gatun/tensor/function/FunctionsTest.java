// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Pooling.Window;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.GradientCheck;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Every differentiable function against central differences, and what it computes where that is short to say. */
class FunctionsTest {
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

    private Tensor irregular(float low, float high, long... shape) {
        int n = 1;
        for (long d : shape) {
            n *= (int) d;
        }
        float[] v = new float[n];
        for (int i = 0; i < n; i++) {
            double t = (i + 3) * 0.7548776662466927 + shape.length * .1;
            v[i] = (float) (low + (high - low) * (t - Math.floor(t)));
        }
        return scope.of(v, shape);
    }

    @Test
    void l2Normalize() {
        Tensor x = irregular(-1, 1.5f, 4, 6);
        GradientCheck.check(in -> L2Normalize.apply(in[0]), x);
        Tensor composed = x.div(x.square().sum(1).sqrt().reshape(4, 1));
        assertArrayEquals(composed.toArray(), L2Normalize.apply(x).toArray(), 4 * Math.ulp(1f));
    }

    @Test
    void linear() {
        Tensor x = irregular(-1, 1, 2, 3, 5);
        Tensor w = irregular(-1, 2, 4, 5);
        Tensor b = irregular(-1, 1, 4);
        GradientCheck.check(in -> in[0].linear(in[1], in[2]), x, w, b);
        assertArrayEquals(
                x.matmulTransposed(w).add(b).toArray(), x.linear(w, b).toArray(), 16 * Math.ulp(1f));
        Tensor gradient = scope.full(1, 4, 5);
        Tape tape = Tape.on(scope);
        tape.backward(x.linear(tape.watch(w, gradient), b).sum());
        float[] columns = x.sum(0).sum(0).add(1).toArray();
        for (int i = 0; i < 20; i++) {
            assertEquals(columns[i % 5], gradient.toArray()[i], 1e-5f);
        }
        assertThrows(TensorException.class, () -> x.linear(w, x));
        assertThrows(TensorException.class, () -> x.linear(irregular(0, 1, 4, 6), b));
    }

    @Test
    void convolution() {
        Tensor x = irregular(-1, 1, 2, 5, 6, 4);
        Tensor w = irregular(-1, 1, 6, 3, 3, 2);
        Tensor b = irregular(-1, 1, 6);
        Geometry geometry = Geometry.of(2, 1, 1, 2);
        GradientCheck.check(in -> Convolution.apply(in[0], in[1], in[2], geometry), x, w, b);
        GradientCheck.check(in -> Convolution.apply(in[0], in[1], Geometry.of(1, 0)), x, irregular(-1, 1, 3, 1, 1, 4));
        // a view with spaces between images' rows
        GradientCheck.check(
                in -> Convolution.apply(in[0].slice(2, 1, 5), in[1], Geometry.of(1, 1)), x, irregular(-1, 1, 2, 3, 3, 4));
        assertThrows(TensorException.class, () -> Convolution.apply(x, irregular(0, 1, 2, 9, 9, 4), Geometry.of(1, 1)));
    }

    @Test
    void pooling() {
        Tensor x = irregular(-1, 1, 2, 5, 4, 3);
        GradientCheck.check(in -> Pooling.max(in[0], Window.of(3, 2, 1)), x);
        GradientCheck.check(in -> Pooling.average(in[0], Window.of(3, 2, 1), true), x);
        GradientCheck.check(in -> Pooling.average(in[0], Window.of(2, 1, 1), false), x);
        GradientCheck.check(in -> Pooling.globalAverage(in[0]), x);
        assertArrayEquals(x.reshape(2, 20, 3).mean(1).toArray(), Pooling.globalAverage(x).toArray(), 1e-6f);
        assertThrows(TensorException.class, () -> Pooling.max(x.reshape(2, 20, 3), Window.of(2, 2, 0)));
    }

    @Test
    void attention() {
        Tensor q = irregular(-1, 1, 2, 3, 2, 4);
        Tensor k = irregular(-1, 2, 2, 5, 2, 4);
        Tensor v = irregular(-2, 1, 2, 5, 2, 4);
        Tensor bias = irregular(-1, 1, 1, 2, 3, 5);
        GradientCheck.check(in -> Attention.apply(in[0], in[1], in[2], .5f, false), q, k, v);
        GradientCheck.check(in -> Attention.apply(in[0], in[1], in[2], in[3], .5f, false), q, k, v, bias);
        GradientCheck.check(in -> Attention.apply(in[0], in[1], in[2], .5f, true), q, k, v);
        Tensor qkv = irregular(-1, 1, 2, 5, 3 * 2 * 4);
        GradientCheck.check(in -> Attention.self(in[0], 2, false), qkv);
        Tensor parts = qkv.reshape(2, 5, 3, 2, 4);
        Tensor[] views = new Tensor[3];
        for (int i = 0; i < 3; i++) {
            views[i] = parts.slice(2, i, i + 1).reshape(2, 5, 2, 4);
        }
        float[] expected = Attention.apply(views[0], views[1], views[2], .5f, false).toArray();
        assertArrayEquals(expected, Attention.self(qkv, 2, false).toArray());
        // the same two sequences end to end
        Tensor offsets = scope.ofInts(new int[] {0, 5, 10});
        assertArrayEquals(expected, Attention.selfRagged(qkv.reshape(10, 24), offsets, 2).toArray(), 1e-6f);
        Tensor uneven = scope.ofInts(new int[] {0, 3, 10});
        GradientCheck.check(in -> Attention.selfRagged(in[0], uneven, 2), qkv.reshape(10, 24));
        assertThrows(TensorException.class, () -> Attention.self(qkv, 5, false));
    }

    @Test
    void activations() {
        // away from the kink of relu by more than the differences' step
        Tensor x = irregular(-2, 2, 3, 7);
        for (float v : x.toArray()) {
            assertTrue(Math.abs(v) > .01f);
        }
        GradientCheck.check(in -> Activation.relu(in[0]), x);
        GradientCheck.check(in -> Activation.gelu(in[0]), x);
        GradientCheck.check(in -> Activation.sigmoid(in[0]), x);
        GradientCheck.check(in -> Activation.tanh(in[0]), x);
        assertArrayEquals(new float[] {0, 2}, Activation.relu(scope.of(new float[] {-1, 2})).toArray());
        assertEquals(.8413447f, Activation.gelu(scope.of(new float[] {1})).item(), 1e-6f);
    }

    @Test
    void gatherRows() {
        Tensor x = irregular(-1, 1, 4, 2, 3);
        Tensor picked = scope.ofInts(new int[] {2, 0, 2});
        GradientCheck.check(in -> GatherRows.apply(in[0], picked), x);
        float[] all = x.toArray();
        assertArrayEquals(
                java.util.Arrays.copyOfRange(all, 12, 18),
                java.util.Arrays.copyOfRange(GatherRows.apply(x, picked).toArray(), 12, 18));
    }

    @Test
    void rowsArePutInPlaceOfOthersToTheBit() {
        float nan = Float.NaN;
        Tensor x = scope.of(new float[] {1e8f, -3, 7, .1f, nan, Float.POSITIVE_INFINITY, -0f, 2}, 4, 2);
        Tensor rows = scope.of(new float[] {1e-8f, .3f, -5, 1e30f}, 2, 2);
        Tape tape = Tape.on(scope);
        Tensor product = tape.watch(rows.reshape(1, 4)).matmul(x);
        GatherRows.put(x, rows, scope.ofInts(new int[] {3, 0}));
        // the rows in between are as they were, also what is no number
        assertArrayEquals(new float[] {-5, 1e30f, 7, .1f, nan, Float.POSITIVE_INFINITY, 1e-8f, .3f}, x.toArray());
        GatherRows.put(x, rows.slice(0, 0, 0), scope.ofInts(new int[0]));
        assertEquals(-5, x.toArray()[0]);
        // who needed the old ones is told
        assertThrows(TensorException.class, () -> tape.backward(product.sum()));
    }

    @Test
    void batchNorm() {
        Tensor x = irregular(-1, 2, 5, 2, 3);
        Tensor gamma = irregular(.5f, 1.5f, 3);
        Tensor beta = irregular(-1, 1, 3);
        GradientCheck.check(
                in -> BatchNorm.apply(in[0], in[1], in[2], running(3), false), x, gamma, beta);
        GradientCheck.check(
                in -> BatchNorm.apply(in[0], in[1], in[2], running(3), true), x, gamma, beta);
        Tensor mean = scope.full(1, 3);
        Tensor variance = scope.full(2, 3);
        RunningStatistics running = new RunningStatistics(mean, variance, .1f, 1e-5);
        float[] y = BatchNorm.apply(x, gamma, beta, running, false).toArray();
        float[] v = x.toArray();
        for (int c = 0; c < 3; c++) {
            double sum = 0;
            double squares = 0;
            for (int i = c; i < 30; i += 3) {
                sum += v[i];
            }
            for (int i = c; i < 30; i += 3) {
                squares += Math.pow(v[i] - sum / 10, 2);
            }
            // batch variance biased, running variance unbiased
            double rstd = 1 / Math.sqrt(squares / 10 + 1e-5);
            assertEquals((v[c] - sum / 10) * rstd * gamma.toArray()[c] + beta.toArray()[c], y[c], 1e-5);
            assertEquals(.9 + .1 * sum / 10, mean.toArray()[c], 1e-6);
            assertEquals(.9 * 2 + .1 * squares / 9, variance.toArray()[c], 1e-6);
        }
        Tensor residual = irregular(-2, 2, 10, 3);
        GradientCheck.check(
                in -> BatchNorm.applyResidual(in[0].reshape(10, 3), in[3], in[1], in[2], running(3)),
                x,
                gamma,
                beta,
                residual);
        assertArrayEquals(
                Activation.relu(BatchNorm.apply(x.reshape(10, 3), gamma, beta, running, false).add(residual))
                        .toArray(),
                BatchNorm.applyResidual(x.reshape(10, 3), residual, gamma, beta, running).toArray(),
                1e-6f);
        assertThrows(
                TensorException.class,
                () -> BatchNorm.applyResidual(x.reshape(10, 3), scope.zeros(10, 1), gamma, beta, running));
        RunningStatistics given = new RunningStatistics(irregular(-1, 1, 3), irregular(.5f, 2, 3), .1f, 1e-5);
        GradientCheck.check(in -> BatchNorm.inference(in[0], in[1], in[2], given, false), x, gamma, beta);
        Tape tape = Tape.on(scope);
        assertArrayEquals(
                BatchNorm.inference(tape.watch(x), gamma, beta, given, true).toArray(),
                BatchNorm.inference(x, gamma, beta, given, true).toArray(),
                1e-6f);
        assertThrows(
                TensorException.class,
                () -> BatchNorm.apply(scope.zeros(1, 3), gamma, beta, running, false));
    }

    private RunningStatistics running(int channels) {
        return new RunningStatistics(scope.zeros(channels), scope.zeros(channels), .1f, 1e-5);
    }

    /** The result and the gradients of x, the residual and gamma. */
    private float[][] joined(Tensor x, Tensor residual, Tensor of, Tensor gamma, Tensor dy, boolean fused) {
        Tape tape = Tape.on(scope);
        Tensor[] in = {tape.watch(x), tape.watch(residual), tape.watch(gamma)};
        Tensor y = of.dtype() == DType.I32
                ? StochasticDepth.joinSubset(in[0], in[1], of, in[2], fused)
                : StochasticDepth.joinMasked(in[0], in[1], of, in[2], fused);
        y = fused ? y : Activation.relu(y);
        float[] given = dy.toArray();
        tape.backward(y, dy);
        assertArrayEquals(given, dy.toArray());
        return new float[][] {
            y.toArray(), tape.gradient(in[0]).toArray(), tape.gradient(in[1]).toArray(), tape.gradient(in[2]).toArray()
        };
    }

    @Test
    void stochasticDepth() {
        Tensor x = irregular(-1, 1, 4, 2, 3);
        Tensor r = irregular(-1, 1, 4, 2, 3);
        Tensor gamma = irregular(.5f, 2, 3);
        Tensor mask = scope.of(new float[] {0, 2, 2, 0});
        GradientCheck.check(in -> StochasticDepth.joinMasked(in[0], in[1], mask, in[2], false), x, r, gamma);
        GradientCheck.check(in -> StochasticDepth.joinMasked(in[0], in[1], null, null, false), x, r);
        Tensor kept = scope.ofInts(new int[] {3, 1});
        Tensor part = irregular(-2, 1, 2, 2, 3);
        GradientCheck.check(in -> StochasticDepth.joinSubset(in[0], in[1], kept, in[2], false), x, part, gamma);
        GradientCheck.check(in -> StochasticDepth.joinSubset(in[0], in[1], kept, null, false), x, part);
        // with a ReLU: the same values and gradients as with one behind it; differences cannot check its kink
        Tensor dy = irregular(-1, 1, 4, 2, 3);
        for (Tensor of : new Tensor[] {mask, kept}) {
            float[][] fused = joined(x, of == kept ? part : r, of, gamma, dy, true);
            assertArrayEquals(joined(x, of == kept ? part : r, of, gamma, dy, false), fused);
            assertFalse(Arrays.equals(dy.toArray(), fused[1]));
        }
        float[] y = StochasticDepth.joinSubset(x, part, kept, null, false).toArray();
        assertEquals(x.toArray()[18] + 2 * part.toArray()[0], y[18], 1e-6f);
        assertEquals(x.toArray()[0], y[0]);
        // exact numbers and frequencies
        RandomKey key = new RandomKey(1, 2, 3);
        assertEquals(7, StochasticDepth.subset(scope, key, ids(10), .3).elements());
        int dropped = 0;
        for (float v : StochasticDepth.mask(scope, key, ids(10_000), .25).toArray()) {
            assertTrue(v == 0 || v == 1 / .75f);
            dropped += v == 0 ? 1 : 0;
        }
        assertEquals(2500, dropped, 5 * Math.sqrt(10_000 * .25 * .75));
    }

    @Test
    void sinkhornCodes() {
        Tensor scores = irregular(-.3f, .3f, 6, 4);
        Tape tape = Tape.on(scope);
        Tensor codes = Sinkhorn.codes(tape.watch(scores), .05f, 3);
        assertFalse(codes.tracked());
        for (float sum : codes.sum(1).toArray()) {
            assertEquals(1, sum, 1e-6f);
        }
        assertArrayEquals(
                java.util.Arrays.copyOfRange(codes.toArray(), 16, 24), Sinkhorn.codes(scores, 2, .05f, 3).toArray());
        assertThrows(TensorException.class, () -> Sinkhorn.codes(scores, 7, .05f, 3));
    }

    @Test
    void layerNorm() {
        Tensor x = irregular(-1, 2, 2, 3, 5);
        Tensor gamma = irregular(.5f, 1.5f, 5);
        Tensor beta = irregular(-1, 1, 5);
        GradientCheck.check(in -> LayerNorm.apply(in[0], in[1], in[2], 1e-6), x, gamma, beta);
        assertArrayEquals(
                LayerNorm.composed(x, 1e-6).mul(gamma).add(beta).toArray(),
                LayerNorm.apply(x, gamma, beta, 1e-6).toArray(),
                16 * Math.ulp(1f));
    }

    @Test
    void groupNorm() {
        Tensor x = irregular(-1, 2, 2, 3, 2, 4);
        Tensor gamma = irregular(.5f, 1.5f, 4);
        Tensor beta = irregular(-1, 1, 4);
        GradientCheck.check(in -> GroupNorm.apply(in[0], 2, in[1], in[2], 1e-5), x, gamma, beta);
        assertArrayEquals(
                GroupNorm.composed(x, 2, 1e-5).mul(gamma).add(beta).toArray(),
                GroupNorm.apply(x, 2, gamma, beta, 1e-5).toArray(),
                16 * Math.ulp(1f));
        // one group a channel is a normalisation over positions
        Tensor rows = x.reshape(2, 6, 4);
        Tensor centred = rows.sub(rows.mean(1).reshape(2, 1, 4));
        assertArrayEquals(
                centred.div(centred.square().mean(1).reshape(2, 1, 4).add(1e-5f).sqrt()).toArray(),
                GroupNorm.composed(x, 4, 1e-5).toArray(),
                1e-5f);
        assertThrows(TensorException.class, () -> GroupNorm.apply(x, 3, gamma, beta, 1e-5));
    }

    @Test
    void softmax() {
        Tensor x = irregular(-2, 2, 2, 3, 5);
        GradientCheck.check(in -> Softmax.apply(in[0], .5f), x);
        Tensor e = x.mul(2).exp();
        assertArrayEquals(
                e.div(e.sum(2).reshape(2, 3, 1)).toArray(), Softmax.apply(x, .5f).toArray(), 4 * Math.ulp(1f));
    }

    @Test
    void crossEntropy() {
        Tensor logits = irregular(-2, 2, 4, 5);
        Tensor codes = Softmax.apply(irregular(-1, 3, 4, 5));
        GradientCheck.check(in -> CrossEntropy.apply(in[0], codes, .3f), logits);
        Tensor log = Softmax.apply(logits, .3f).log();
        float[] rows = codes.mul(log).sum(1).neg().toArray();
        assertArrayEquals(rows, CrossEntropy.rows(logits, codes, .3f).toArray(), 1e-5f);
        assertEquals((rows[0] + rows[1] + rows[2] + rows[3]) / 4, CrossEntropy.apply(logits, codes, .3f).item(), 1e-5f);
        Tensor labels = scope.ofInts(new int[] {3, -1, 0, 4});
        GradientCheck.check(in -> CrossEntropy.apply(in[0], labels), logits);
        float[] p = Softmax.apply(logits).log().toArray();
        assertEquals(-(p[3] + p[10] + p[19]) / 3, CrossEntropy.apply(logits, labels).item(), 1e-5f);
        // equal logits: ln K
        assertEquals((float) Math.log(5), CrossEntropy.apply(scope.zeros(4, 5), codes, .1f).item(), 1e-6f);
        Tape tape = Tape.on(scope);
        assertThrows(TensorException.class, () -> CrossEntropy.apply(logits, tape.watch(codes)));
    }

    @Test
    void linearCrossEntropy() {
        Tensor z = irregular(-1, 2, 6, 3);
        Tensor prototypes = irregular(-2, 1, 5, 3);
        Tensor codes = Softmax.apply(irregular(-1, 3, 3, 5)).mul(2f);
        Tensor repeated = Tensor.concat(0, codes, codes);
        GradientCheck.check(in -> LinearCrossEntropy.apply(in[0], in[1], codes, .3f), z, prototypes);
        GradientCheck.check(in -> LinearCrossEntropy.apply(in[0], prototypes, codes, .3f), z);
        GradientCheck.check(in -> LinearCrossEntropy.apply(z, in[0], codes, .3f).mul(3f), prototypes);
        float composed = CrossEntropy.apply(z.matmulTransposed(prototypes), repeated, .3f).item();
        assertEquals(composed, LinearCrossEntropy.apply(z, prototypes, codes, .3f).item(), 1e-5f);
        assertEquals(composed, LinearCrossEntropy.apply(z, prototypes, codes, .3f, z.matmulTransposed(prototypes)).item(), 1e-5f);
        // scores that are given are not computed again: with zeros every prototype is as likely
        assertEquals(2 * (float) Math.log(5), LinearCrossEntropy.apply(z, prototypes, codes, .3f, scope.zeros(6, 5)).item(), 1e-5f);
        // every other row: no contiguous matrix
        Tensor rows = irregular(-1, 2, 6, 2, 3).slice(1, 0, 1).reshape(6, 3);
        assertEquals(
                LinearCrossEntropy.apply(rows.contiguous(), prototypes, codes, 1f).item(),
                LinearCrossEntropy.apply(rows, prototypes, codes, 1f).item());
        assertThrows(TensorException.class, () -> LinearCrossEntropy.apply(z, prototypes, irregular(0, 1, 4, 5), 1f));
        assertThrows(TensorException.class, () -> LinearCrossEntropy.apply(z, irregular(0, 1, 5, 9), codes, 1f, scope.zeros(6, 5)));
        Tape tape = Tape.on(scope);
        assertThrows(TensorException.class, () -> LinearCrossEntropy.apply(z, prototypes, tape.watch(codes), 1f));
    }

    @Test
    void viewsOfAnyStridesAreTaken() {
        Tensor base = irregular(-1, 1, 3, 4, 6);
        Tensor mask = scope.of(new float[] {0, 2, 2});
        Tensor codes = Softmax.apply(irregular(-1, 3, 3, 2, 6));
        Tensor picked = scope.ofInts(new int[] {2, 0});
        Tensor one = scope.full(1, 6);
        List<java.util.function.UnaryOperator<Tensor>> functions = List.of(
                L2Normalize::apply,
                Activation::gelu,
                Softmax::apply,
                x -> CrossEntropy.rows(x, codes, 1f),
                x -> LayerNorm.apply(x, one, one, 1e-6),
                x -> BatchNorm.apply(x, one, one, running(6), true),
                x -> StochasticDepth.joinMasked(x, x, mask, one, false),
                x -> GatherRows.apply(x, picked),
                x -> Pooling.globalAverage(x.reshape(3, 2, 1, 6)),
                x -> Convolution.apply(x.reshape(3, 2, 1, 6), irregular(-1, 1, 2, 1, 1, 6), Geometry.of(1, 0)));
        // rows with gaps, then a dimension exchanged: no row is contiguous
        for (Tensor view : List.of(base.slice(1, 1, 3), irregular(-1, 1, 3, 6, 2).transpose())) {
            for (java.util.function.UnaryOperator<Tensor> f : functions) {
                assertArrayEquals(f.apply(view.contiguous()).toArray(), f.apply(view).toArray());
            }
        }
    }

    @Test
    void kmeans() {
        // two clouds around (0, 0) and (10, 10)
        float[] points = new float[40];
        for (int i = 0; i < 20; i++) {
            points[2 * i] = (i % 2) * 10 + (float) Math.sin(i);
            points[2 * i + 1] = (i % 2) * 10 + (float) Math.cos(i);
        }
        Tensor rows = scope.of(points, 20, 2);
        Tensor centroids = scope.of(new float[] {9, 0, 10, 9}, 2, 2);
        Kmeans.fit(rows, centroids, 5, false, dev.gatun.primitives.Kmeans.Empty.KEEP);
        int[] assignment = Kmeans.assign(rows, centroids, false).toIntArray();
        double[] means = new double[4];
        for (int i = 0; i < 20; i++) {
            assertEquals(i % 2, assignment[i]);
            means[i % 2 * 2] += points[2 * i] / 10;
            means[i % 2 * 2 + 1] += points[2 * i + 1] / 10;
        }
        for (int i = 0; i < 4; i++) {
            assertEquals(means[i], centroids.toArray()[i], 1e-5);
        }
        assertThrows(TensorException.class, () -> Kmeans.assign(rows, scope.zeros(2, 3), false));
    }

    private Tensor ids(int count) {
        return scope.ofLongs(java.util.stream.LongStream.range(0, count).toArray());
    }
}
