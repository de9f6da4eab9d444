// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import static dev.gatun.learning.method.MethodRun.B;
import static dev.gatun.learning.method.MethodRun.STEPS_PER_EPOCH;
import static dev.gatun.learning.method.MethodRun.global;
import static dev.gatun.learning.method.MethodRun.local;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.data.ViewRole;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Device;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.Sinkhorn;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SwavTest {
    private static final int K = 10;
    private static final int D = 6;

    private final Device device = Device.cpu(1);

    @AfterEach
    void close() {
        device.close();
    }

    private static SwavProvider.Settings settings(int queue, int freezeEpochs) {
        return new SwavProvider.Settings(K, List.of(8), D, .1f, .05f, 3, freezeEpochs, 0, queue, 1);
    }

    private MethodRun<Swav> run(SwavProvider.Settings settings, ViewRole... roles) {
        return new MethodRun<>(device, new Swav(settings), roles);
    }

    private Tensor scores(long seed, int rows) {
        SplittableRandom random = new SplittableRandom(seed);
        float[] values = new float[rows * K];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (2 * random.nextDouble() - 1);
        }
        return device.scope().of(values, rows, K);
    }

    @Test
    void codesIgnoreAConstantAndPermuteWithTheirRows() {
        Tensor scores = scores(1, B);
        float[] codes = Sinkhorn.codes(scores, .05f, 3).toArray();
        // a constant shifts every exponent of base e^20 by one rounding of the score: relative error ulp(2)·20
        assertArrayEquals(codes, Sinkhorn.codes(scores.add(1f), .05f, 3).toArray(), 20 * Math.ulp(2f));
        int[] order = IntStream.range(0, B).map(i -> (i * 7 + 3) % B).toArray();
        Tensor[] rows = IntStream.of(order).mapToObj(i -> scores.slice(0, i, i + 1)).toArray(Tensor[]::new);
        float[] permuted = Sinkhorn.codes(Tensor.concat(0, rows), .05f, 3).toArray();
        for (int i = 0; i < B; i++) {
            for (int k = 0; k < K; k++) {
                assertEquals(codes[order[i] * K + k], permuted[i * K + k], 1e-6f);
            }
        }
    }

    @Test
    void codesSumToOneAndAreUniformForEqualScores() {
        float[] codes = Sinkhorn.codes(scores(2, B), .05f, 3).toArray();
        for (int i = 0; i < B; i++) {
            double sum = 0;
            for (int k = 0; k < K; k++) {
                sum += codes[i * K + k];
            }
            assertEquals(1, sum, 1e-6);
        }
        for (float q : Sinkhorn.codes(device.scope().full(.7f, B, K), .05f, 3).toArray()) {
            assertEquals(1.0 / K, q, 1e-6);
        }
    }

    @Test
    void theLossIsThatOfTheAlgorithmInDouble() {
        MethodRun<Swav> run = run(settings(0, 0), global(5), global(5), local(3));
        try (Scope scope = device.scope().open()) {
            Step step = run.step(scope, 0);
            run.method.beforeStep(step);
            Batch batch = run.batch(scope, 1);
            float loss = run.method.loss(batch, step).item();

            // the same z and C, then the formulas of the paper in double
            Pass again = Pass.trainingWithoutGradient(scope, new RandomKey(5, 0, 0));
            Tensor features = Tensor.concat(0, batch.views().stream()
                    .map(view -> MethodRun.features(view.images()))
                    .toArray(Tensor[]::new));
            float[] z = run.method.embed(again, features).toArray();
            float[] c = stored(run).value().toArray();
            double[][] s = new double[3 * B][K];
            for (int i = 0; i < 3 * B; i++) {
                for (int k = 0; k < K; k++) {
                    for (int d = 0; d < D; d++) {
                        s[i][k] += (double) z[i * D + d] * c[k * D + d];
                    }
                }
            }
            double expected = 0;
            for (int assigned = 0; assigned < 2; assigned++) {
                double[][] q = sinkhorn(java.util.Arrays.copyOfRange(s, assigned * B, (assigned + 1) * B), .05, 3);
                for (int v = 0; v < 3; v++) {
                    if (v != assigned) {
                        expected += crossEntropy(q, java.util.Arrays.copyOfRange(s, v * B, (v + 1) * B), .1) / (2 * 2);
                    }
                }
            }
            // codes amplify a score's rounding by 1/epsilon, predictions by 1/temperature
            assertEquals(expected, loss, (20 + 10) * 8 * Math.ulp(1f) * expected);
            assertTrue(Math.abs(expected - loss * 1.001) > (20 + 10) * 8 * Math.ulp(1f) * expected);
        }
    }

    private static double[][] sinkhorn(double[][] scores, double epsilon, int iterations) {
        int b = scores.length;
        double[][] q = new double[b][K];
        double total = 0;
        for (int i = 0; i < b; i++) {
            for (int k = 0; k < K; k++) {
                q[i][k] = Math.exp(scores[i][k] / epsilon);
                total += q[i][k];
            }
        }
        for (double[] row : q) {
            for (int k = 0; k < K; k++) {
                row[k] /= total;
            }
        }
        for (int t = 0; t < iterations; t++) {
            for (int k = 0; k < K; k++) {
                double sum = 0;
                for (double[] row : q) {
                    sum += row[k];
                }
                for (double[] row : q) {
                    row[k] /= sum * K;
                }
            }
            for (double[] row : q) {
                double sum = 0;
                for (double v : row) {
                    sum += v;
                }
                for (int k = 0; k < K; k++) {
                    row[k] /= sum * b;
                }
            }
        }
        for (double[] row : q) {
            for (int k = 0; k < K; k++) {
                row[k] *= b;
            }
        }
        return q;
    }

    private static double crossEntropy(double[][] q, double[][] s, double temperature) {
        double loss = 0;
        for (int i = 0; i < q.length; i++) {
            double sum = 0;
            for (double v : s[i]) {
                sum += Math.exp(v / temperature);
            }
            for (int k = 0; k < K; k++) {
                loss -= q[i][k] * (s[i][k] / temperature - Math.log(sum)) / q.length;
            }
        }
        return loss;
    }

    @Test
    void theFirstLossIsAboutLnK() {
        // random scores of width 1024 at temperature .1 have variance .1, which adds half of it to the expected loss
        SwavProvider.Settings wide = new SwavProvider.Settings(K, List.of(8), 1024, .1f, .05f, 3, 1, 0, 0, 0);
        assertEquals(Math.log(K), run(wide, global(4), global(4)).loss(0, 3), .1);
        MethodRun<Swav> run = run(settings(0, 1), global(4), global(4));
        run.loss(0, 3);
        assertEquals(Math.log(K), run.metrics.get(Step.UNINFORMED_LOSS));
        assertEquals(K, run.metrics.get(Step.PROTOTYPES));
        double used = run.metrics.get(Step.PROTOTYPES_USED);
        assertTrue(used >= 1 && used <= K);
        double spread = run.metrics.get(Step.SPREAD);
        assertTrue(spread > .1 && spread <= 1.001, "spread " + spread);
    }

    @Test
    void oneBackbonePassAResolution() {
        MethodRun<Swav> run = run(settings(0, 0), global(6), global(6), local(4), local(4), local(4));
        run.loss(0, 1);
        assertEquals(List.of(2 * B, 3 * B), run.passes);
    }

    @Test
    void prototypesAreShownNormalisedAlsoAfterAnUpdate() {
        MethodRun<Swav> run = run(settings(0, 0), global(4), global(4));
        float[] longer = new float[K * D];
        java.util.Arrays.fill(longer, 3f);
        stored(run).value().copyFrom(longer);
        try (Scope scope = device.scope().open()) {
            for (float c : run.method.prototypes(scope).toArray()) {
                assertEquals(1 / Math.sqrt(D), c, 1e-6);
            }
        }
        assertEquals(3f, stored(run).value().toArray()[0], "what is trained stays as it is");
    }

    @Test
    void aQueueThatHoldsNoBatchIsRefused() {
        var refused = assertThrows(IllegalArgumentException.class, () -> run(settings(B - 1, 0), global(4), global(4)));
        assertEquals("queue: " + (B - 1) + " rows hold no batch of " + B + "; 0 = no queue", refused.getMessage());
    }

    @Test
    void prototypesAreNormalisedBeforeTheStepAndFrozenFirst() {
        MethodRun<Swav> run = run(settings(0, 1), global(4), global(4));
        run.loss(0, 1);
        float[] c = stored(run).value().toArray();
        for (int k = 0; k < K; k++) {
            double length = 0;
            for (int d = 0; d < D; d++) {
                length += (double) c[k * D + d] * c[k * D + d];
            }
            assertEquals(1, length, 1e-6);
        }
        assertTrue(gradient(run) == 0, "the first epoch's gradient is discarded");
        run.loss(STEPS_PER_EPOCH - 1, 1);
        assertTrue(gradient(run) == 0);
        run.loss(STEPS_PER_EPOCH, 1);
        assertTrue(gradient(run) > 0, "from the second epoch on they learn");
    }

    private static Parameter stored(MethodRun<Swav> run) {
        return run.parameters.sub("prototypes").all().getFirst();
    }

    private static double gradient(MethodRun<Swav> run) {
        double sum = 0;
        for (float g : stored(run).gradient().toArray()) {
            sum += Math.abs(g);
        }
        return sum;
    }

    @Test
    void theQueueStartsWithItsEpochAndCountsOnceFull() {
        // 60 rows are rounded down to two batches; the queue starts in epoch 1
        MethodRun<Swav> queued = run(settings(60, 0), global(4), global(4));
        MethodRun<Swav> plain = run(settings(0, 0), global(4), global(4));
        assertEquals(2 * B, rows(queued));
        assertEquals(plain.loss(0, 10), queued.loss(0, 10));
        assertEquals(0, count(queued), "not started");
        for (int s = 0; s < 2; s++) {
            assertEquals(plain.loss(STEPS_PER_EPOCH + s, 20 + s), queued.loss(STEPS_PER_EPOCH + s, 20 + s), "not full");
            assertEquals((s + 1) * B, count(queued));
        }
        assertFalse(plain.loss(STEPS_PER_EPOCH + 2, 30) == queued.loss(STEPS_PER_EPOCH + 2, 30), "full: codes see the queue");
        assertEquals(3 * B, count(queued));
        assertEquals(2 * B, rows(queued));
    }

    private static long rows(MethodRun<Swav> run) {
        return run.parameters.sub("queue").states().getFirst().shape()[0];
    }

    private static long count(MethodRun<Swav> run) {
        return run.parameters.sub("queue").states().get(1).value().toLongArray()[0];
    }

    @Test
    void theQueueIsARingOfTheLatestBatches() {
        Parameters parameters = Parameters.create();
        SwavQueue queue = new SwavQueue(parameters, 4, 2, 1);
        Step step = run(settings(0, 0), global(4), global(4)).step(device.scope(), 0);
        parameters.build(device, 1);
        queue.beforeStep(step);
        assertFalse(queue.full());
        for (int i = 0; i < 3; i++) {
            queue.enqueue(device.scope().of(new float[] {2 * i, 2 * i + 1}, 2, 1));
            queue.beforeStep(step);
            assertEquals(i >= 1, queue.full());
        }
        assertArrayEquals(new float[] {4, 5, 2, 3}, queue.rows(device.scope()).toArray());
        SwavQueue none = new SwavQueue(Parameters.create(), 0, 2, 1);
        none.enqueue(device.scope().zeros(2, 1));
        assertFalse(none.full());
    }

    @Test
    void tooFewSamplesForThePrototypesAreWarnedOf() {
        assertEquals(List.of(), run(settings(0, 0), global(4), global(4)).warnings);
        SwavProvider.Settings many = new SwavProvider.Settings(100, List.of(8), D, .1f, .05f, 3, 1, 0, 50, 0);
        List<String> warnings = run(many, global(4), global(4)).warnings;
        assertEquals(1, warnings.size());
        assertTrue(warnings.getFirst().startsWith("batch 24 and queue 48 hold fewer samples than the 100 prototypes"));
    }

    @Test
    void oneViewIsNotEnough() {
        String message = assertThrows(IllegalArgumentException.class, () -> run(settings(0, 0), global(4))).getMessage();
        assertTrue(message.startsWith("swav needs two views or more"), message);
        assertThrows(IllegalArgumentException.class, () -> run(settings(0, 0), local(4), local(4)));
    }

    @Test
    void trainingLeavesTheUninformedLoss() {
        MethodRun<Swav> run = run(new SwavProvider.Settings(4, List.of(16), D, .1f, .05f, 3, 1, 0, 0, 0), global(4), global(4));
        var optimizer = new dev.gatun.tensor.optimizer.AdamW(run.parameters, 0);
        double last = 0;
        for (int s = 0; s < 60; s++) {
            long seed = s;
            // both views of a sample show the same: what the views share can be predicted
            last = run.update(s, scope -> {
                Batch batch = run.batch(scope, seed);
                return new Batch(batch.ids(), List.of(batch.views().get(0), batch.views().get(0)), batch.labels());
            }, optimizer, 1e-2f);
        }
        assertTrue(last < Math.log(4) - .3, "loss " + last);
    }
}
