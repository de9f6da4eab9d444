// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.GradientCheck;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.Arrays;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class DropPathTest {
    private static final RandomKey KEY = new RandomKey(1, 2, 3);
    private static final Layer PLUS_ONE = (pass, v) -> v.add(1);

    private static float[] wave(int n, double frequency) {
        float[] v = new float[n];
        for (int i = 0; i < n; i++) {
            v[i] = (float) Math.sin(frequency * (i + 1));
        }
        return v;
    }

    /** Which of the rows are kept. */
    private static boolean[] kept(Scope scope, DropPath drop, Pass pass, int rows) {
        float[] y = drop.residual(pass, scope.zeros(rows, 1), PLUS_ONE).toArray();
        boolean[] kept = new boolean[rows];
        for (int i = 0; i < rows; i++) {
            kept[i] = y[i] != 0;
        }
        return kept;
    }

    private static int count(boolean[] values) {
        int n = 0;
        for (boolean v : values) {
            n += v ? 1 : 0;
        }
        return n;
    }

    @Test
    void aBranchMayBeginWithStochasticDepth() {
        try (Device device = Device.cpu(1)) {
            DropPath drop = new DropPath(.4, DropPath.Form.SUBSET);
            Tensor w = device.scope().of(wave(16, 1.3), 4, 4);
            GradientCheck.check(in -> {
                Pass pass = Pass.trainingWithoutGradient(in[0].scope(), KEY);
                return drop.residual(pass, in[0], (p, some) -> drop.residual(p, some, (q, few) -> few.matmul(w).square()));
            }, device.scope().of(wave(40, 1.7), 10, 4));
        }
    }

    @Test
    void dropPathKeepsWhatItSays() {
        try (Device device = Device.cpu(1)) {
            Scope scope = device.scope();
            Tensor x = scope.zeros(8, 3);
            for (DropPath.Form form : DropPath.Form.values()) {
                DropPath drop = new DropPath(.5, form);
                assertArrayEquals(
                        PLUS_ONE.forward(Pass.inference(scope), x).toArray(),
                        drop.residual(Pass.inference(scope), x, PLUS_ONE).toArray());
                Pass pass = Pass.training(Tape.on(scope), KEY);
                float[] one = drop.residual(pass, x, PLUS_ONE).toArray();
                float[] two = drop.residual(pass, x, PLUS_ONE).toArray();
                float[] again = drop.residual(Pass.training(Tape.on(scope), KEY), x, PLUS_ONE).toArray();
                assertFalse(Arrays.equals(one, two));
                assertArrayEquals(one, again);
                int kept = 0;
                for (int i = 0; i < 24; i += 3) {
                    assertTrue(one[i] == 0 || one[i] == 2);
                    kept += one[i] == 2 ? 1 : 0;
                }
                if (form == DropPath.Form.SUBSET) {
                    assertEquals(4, kept);
                }
            }
            assertThrows(TensorException.class, () -> new DropPath(1, DropPath.Form.MASK));
        }
    }

    @Test
    void aSamplesDropFollowsItsIdAndDiffersBetweenItsViews() {
        try (Device device = Device.cpu(1)) {
            Scope scope = device.scope();
            int b = 32;
            long[] forward = LongStream.range(100, 100 + b).toArray();
            long[] reversed = new long[b];
            for (int i = 0; i < b; i++) {
                reversed[i] = forward[b - 1 - i];
            }
            DropPath drop = new DropPath(.5, DropPath.Form.MASK);
            Tensor twoViews = scope.zeros(2 * b, 1);
            float[] one = drop.residual(Pass.training(Tape.on(scope), KEY).withSamples(forward), twoViews, PLUS_ONE).toArray();
            float[] two = drop.residual(Pass.training(Tape.on(scope), KEY).withSamples(reversed), twoViews, PLUS_ONE).toArray();
            for (int i = 0; i < b; i++) {
                assertEquals(one[i], two[b - 1 - i]);
                assertEquals(one[b + i], two[2 * b - 1 - i]);
            }
            assertFalse(Arrays.equals(Arrays.copyOf(one, b), Arrays.copyOfRange(one, b, 2 * b)));
        }
    }

    @Test
    void aSubsetKeepsExactlyWhatTheRateSays() {
        try (Device device = Device.cpu(1)) {
            for (double rate : new double[] {.05, .2, .4, .6, .8}) {
                for (int samples : new int[] {1, 2, 5, 50, 64}) {
                    long seed = samples;
                    DropPath drop = new DropPath(rate, DropPath.Form.SUBSET);
                    Pass pass = Pass.training(Tape.on(device.scope()), new RandomKey(seed, 0, 0));
                    // in hundredths, so that the expectation has no rounding of its own
                    int expected = Math.max(samples * (100 - (int) Math.round(rate * 100)) / 100, 1);
                    assertEquals(expected, count(kept(device.scope(), drop, pass, samples)), rate + " of " + samples);
                }
            }
        }
    }

    /** Both copies of a batch, and a sample that a sampler put into the batch twice. */
    @Test
    void rowsOfOneSampleDrawApart() {
        int b = 4096;
        long[] ids = LongStream.range(7, 7 + b).toArray();
        long[] twice = LongStream.range(0, 2 * b).map(i -> ids[(int) i % b]).toArray();
        try (Device device = Device.cpu(1)) {
            for (DropPath.Form form : DropPath.Form.values()) {
                DropPath drop = new DropPath(.5, form);
                boolean[] doubled =
                        kept(device.scope(), drop, Pass.training(Tape.on(device.scope()), KEY).withSamples(ids), 2 * b);
                boolean[] listed =
                        kept(device.scope(), drop, Pass.training(Tape.on(device.scope()), KEY).withSamples(twice), 2 * b);
                assertArrayEquals(doubled, listed);
                int[] pairs = new int[4];
                for (int i = 0; i < b; i++) {
                    pairs[(doubled[i] ? 2 : 0) + (doubled[b + i] ? 1 : 0)]++;
                }
                // independent halves: each of the four outcomes b/4 times, with the standard deviation √(3b/16)
                for (int n : pairs) {
                    assertEquals(b / 4., n, 5 * Math.sqrt(3 * b / 16.), form + " " + Arrays.toString(pairs));
                }
            }
        }
    }

    @Test
    void subsetRunsTheBranchOnWhatIsKeptOnly() {
        try (Device device = Device.cpu(1)) {
            long[] seen = new long[1];
            new DropPath(.75, DropPath.Form.SUBSET)
                    .residual(Pass.training(Tape.on(device.scope()), KEY), device.scope().zeros(8, 2, 3), (pass, v) -> {
                        seen[0] = v.size(0);
                        return v;
                    });
            assertEquals(2, seen[0]);
        }
    }

    @Test
    void droppedRowsGetTheShortcutsGradientOnly() {
        int b = 10;
        try (Device device = Device.cpu(1)) {
            Scope scope = device.scope();
            float[] values = wave(b * 3, 1.3);
            float[] dy = wave(b * 3, .7);
            for (DropPath.Form form : DropPath.Form.values()) {
                for (boolean own : new boolean[] {false, true}) {
                    DropPath drop = new DropPath(.4, form);
                    boolean[] kept = kept(scope, drop, Pass.training(Tape.on(scope), KEY), b);
                    assertTrue(count(kept) > 0 && count(kept) < b);
                    Tape tape = Tape.on(scope);
                    Pass pass = Pass.training(tape, KEY);
                    Tensor x = tape.watch(scope.of(values, b, 3));
                    Tensor shortcut = own ? x.mul(3) : x;
                    tape.backward(drop.residual(pass, shortcut, x, (p, v) -> v.square(), null), scope.of(dy, b, 3));
                    float[] dx = tape.gradient(x).toArray();
                    double scale = form == DropPath.Form.SUBSET ? b / 6. : 1 / .6;
                    for (int i = 0; i < b * 3; i++) {
                        float direct = own ? 3 * dy[i] : dy[i];
                        if (!kept[i / 3]) {
                            assertEquals(direct, dx[i]);
                        } else {
                            assertEquals(direct + scale * 2 * values[i] * dy[i], dx[i], 1e-5);
                        }
                    }
                }
            }
        }
    }

    /** The two shapes of a block: behind a layer norm with x as the shortcut; batch norms and a shortcut of its own. */
    @Test
    void gradientsOfBlocksAgreeWithDifferences() {
        try (Device device = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            Parameter gamma = parameters.parameter("gamma", Initializer.normal(1), 6);
            Layer transformer = new Sequential(
                    new LayerNorm(parameters.sub("norm"), 6, 1e-6), new MultiHeadAttention(parameters.sub("attn"), 6, 2, true));
            Layer residual = new Sequential(
                    new Conv2d(parameters.sub("conv1"), 2, 3, 3, 2, 1, 1, false),
                    new BatchNorm(parameters.sub("bn1"), 3),
                    new Gelu(),
                    new Conv2d(parameters.sub("conv2"), 3, 3, 3, 1, 1, 1, false),
                    new BatchNorm(parameters.sub("bn2"), 3));
            Layer shortcut = new Conv2d(parameters.sub("downsample"), 2, 3, 1, 2, 0, 1, false);
            parameters.build(device, 5);
            Tensor tokens = device.scope().of(wave(5 * 3 * 6, 1.3), 5, 3, 6);
            Tensor images = device.scope().of(wave(5 * 4 * 4 * 2, 1.7), 5, 4, 4, 2);
            for (DropPath.Form form : DropPath.Form.values()) {
                DropPath drop = new DropPath(.4, form);
                GradientCheck.check(in -> {
                    Pass pass = Pass.trainingWithoutGradient(in[0].scope(), KEY);
                    return drop.residual(pass, in[0], in[0], transformer, gamma);
                }, tokens);
                GradientCheck.check(in -> {
                    Pass pass = Pass.trainingWithoutGradient(in[0].scope(), KEY);
                    return drop.residual(pass, shortcut.forward(pass, in[0]), in[0], residual, null);
                }, images);
            }
        }
    }

    @Test
    void rateZeroHasTheBytesOfNoDropPath() {
        try (Device device = Device.cpu(1)) {
            Scope scope = device.scope();
            Parameters parameters = Parameters.create();
            Layer branch = new Linear(parameters, 3, 3, true);
            parameters.build(device, 5);
            Tensor x = scope.of(wave(24, 1.3), 8, 3);
            Tape plainTape = Tape.on(scope);
            Pass plain = Pass.training(plainTape, KEY);
            Tensor watched = plainTape.watch(x);
            Tensor expected = watched.add(branch.forward(plain, watched));
            plainTape.backward(expected.square().sum());
            for (DropPath.Form form : DropPath.Form.values()) {
                Tape tape = Tape.on(scope);
                Tensor in = tape.watch(x);
                Tensor y = new DropPath(0, form).residual(Pass.training(tape, KEY), in, branch);
                tape.backward(y.square().sum());
                assertArrayEquals(expected.toArray(), y.toArray());
                assertArrayEquals(plainTape.gradient(watched).toArray(), tape.gradient(in).toArray());
            }
        }
    }

    @Test
    void batchNormsOfASubsetAverageTheKeptRows() {
        try (Device device = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            Layer norm = new BatchNorm(parameters, 1);
            parameters.build(device, 5);
            int b = 10;
            float[] values = wave(b * 2, 1.3);
            DropPath drop = new DropPath(.4, DropPath.Form.SUBSET);
            boolean[] kept = kept(device.scope(), drop, Pass.training(Tape.on(device.scope()), KEY), b);
            drop.residual(Pass.training(Tape.on(device.scope()), KEY), device.scope().of(values, b, 2, 1), norm);
            double mean = 0;
            for (int i = 0; i < 2 * b; i++) {
                mean += kept[i / 2] ? values[i] / 12. : 0;
            }
            double variance = 0;
            for (int i = 0; i < 2 * b; i++) {
                variance += kept[i / 2] ? (values[i] - mean) * (values[i] - mean) / 11 : 0;
            }
            State running = parameters.states().getFirst();
            assertEquals("running_mean", running.name());
            assertEquals(.1 * mean, running.value().toArray()[0], 1e-6);
            assertEquals(.9 + .1 * variance, parameters.states().get(1).value().toArray()[0], 1e-6);
        }
    }

    @Test
    void theBranchsResultIsGoneWhereNobodyNeedsIt() {
        try (Device device = Device.cpu(1)) {
            Tensor w = device.scope().of(wave(64 * 64, 1.3), 64, 64);
            Tensor input = device.scope().of(wave(32 * 64, 1.7), 32, 64);
            long row = 32 * 64 * Float.BYTES;
            for (DropPath drop : new DropPath[] {new DropPath(0, DropPath.Form.MASK), new DropPath(.4, DropPath.Form.MASK)}) {
                // a product keeps its operands, an exponential its result; the sum keeps what comes out
                assertEquals(row, left(device, drop, input, v -> v.matmul(w)));
                assertEquals(2 * row, left(device, drop, input, v -> v.matmul(w).exp()) - row);
                // what came in stays
                assertEquals(row, left(device, drop, input, v -> v));
            }
        }
    }

    private static long left(Device device, DropPath drop, Tensor input, java.util.function.UnaryOperator<Tensor> branch) {
        try (Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Pass pass = Pass.training(tape, KEY);
            pass.samples(32);
            Tensor x = tape.watch(input).mul(2);
            long before = device.liveBytes();
            Tensor y = drop.residual(pass, x, (p, v) -> branch.apply(v));
            long after = device.liveBytes();
            assertTrue(x.finite() && y.finite());
            tape.backward(y.square().mean());
            // masks are small
            return (after - before) / (32 * 64 * Float.BYTES) * (32 * 64 * Float.BYTES);
        }
    }
}
