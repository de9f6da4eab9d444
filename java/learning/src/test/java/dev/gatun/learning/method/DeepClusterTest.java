// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import static dev.gatun.learning.method.MethodRun.B;
import static dev.gatun.learning.method.MethodRun.SIDE;
import static dev.gatun.learning.method.MethodRun.global;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.learning.Epoch;
import dev.gatun.learning.Epochs;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.optimizer.AdamW;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class DeepClusterTest {
    private static final int N = 90;
    private static final int K = 6;
    private static final int HIDDEN = 40;
    private static final float HEAD_LR = .05f;
    private static final float HEAD_DECAY = .01f;

    private final Device device = Device.cpu(1);
    private final List<Integer> looked = new ArrayList<>();

    @AfterEach
    void close() {
        device.close();
    }

    private MethodRun<DeepCluster> run(int clusters, int components) {
        var settings = new DeepClusterProvider.Settings(clusters, HIDDEN, components, 10, HEAD_LR, HEAD_DECAY);
        return new MethodRun<>(device, new DeepCluster(settings), null, N, 0, global(4), global(4));
    }

    /** Starts an epoch over images of so many different kinds. */
    private Epoch begin(MethodRun<DeepCluster> run, int index, Scope scope, int kinds) {
        Epoch epoch = epoch(index, scope, kinds);
        run.method.beforeEpoch(epoch);
        return epoch;
    }

    private Epoch epoch(int index, Scope scope, int kinds) {
        return Epochs.of(index, scope, 9, N, new int[0], (inner, view, key) -> {
            looked.add(view);
            float[] pixels = new float[N * 16];
            for (int i = 0; i < N; i++) {
                SplittableRandom random = new SplittableRandom(31 * (i % kinds));
                for (int p = 0; p < 16; p++) {
                    pixels[i * 16 + p] = (float) random.nextGaussian();
                }
            }
            return inner.of(pixels, N, 4, 4, 1);
        });
    }

    private static Tensor tensor(MethodRun<?> run, String name) {
        return run.parameters.tensors().stream()
                .filter(t -> t.name().equals(name))
                .map(NamedTensor::tensor)
                .findFirst()
                .orElseThrow();
    }

    @Test
    void theHeadIsMadeAnewEveryEpoch() {
        MethodRun<DeepCluster> run = run(K, 2);
        float[] last = null;
        for (int e = 0; e < 2; e++) {
            tensor(run, "head.bias").fill(1f);
            try (Scope scope = device.scope().open()) {
                begin(run, e, scope, N);
            }
            float[] weight = tensor(run, "head.weight").toArray();
            double mean = 0;
            double squares = 0;
            for (float w : weight) {
                mean += (double) w / weight.length;
                squares += (double) w * w / weight.length;
            }
            // five standard errors
            assertEquals(0, mean, 5 * .01 / Math.sqrt(weight.length));
            assertEquals(1, squares / (.01 * .01), 5 * Math.sqrt(2.0 / weight.length));
            assertArrayEquals(new float[K], tensor(run, "head.bias").toArray());
            assertFalse(Arrays.equals(last, weight), "other weights than in the epoch before");
            last = weight;
        }
    }

    @Test
    void theHeadLearnsByPlainGradientDescentOnly() {
        MethodRun<DeepCluster> run = run(K, 2);
        // this optimizer moves what it reaches by its learning rate, whatever the gradient
        AdamW optimizer = new AdamW(run.parameters, .1f);
        assertTrue(run.parameters.all().stream().noneMatch(p -> p.name().startsWith("head.")), "out of the optimizer's reach");
        Parameters head = run.parameters.apart().getFirst();
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
        }
        float[] hidden = tensor(run, "hidden.weight").toArray();
        for (int s = 0; s < 3; s++) {
            float[] before = head.values().toArray();
            run.update(s, scope -> run.batch(scope, 1), optimizer, .1f);
            float[] after = head.values().toArray();
            float[] gradient = head.gradients().toArray();
            double largest = 0;
            for (int i = 0; i < after.length; i++) {
                // with a momentum the second and third step would be longer
                double expected = before[i] - HEAD_LR * (gradient[i] + HEAD_DECAY * before[i]);
                assertEquals(expected, after[i], 4 * Math.ulp(Math.max(Math.abs(before[i]), 1e-3f)), "step " + s);
                largest = Math.max(largest, Math.abs(gradient[i]));
            }
            assertTrue(largest > 1e-3, "there is a gradient to follow: " + largest);
        }
        assertFalse(Arrays.equals(hidden, tensor(run, "hidden.weight").toArray()), "the rest learns too");
    }

    @Test
    void theFeaturesAreThoseOfPlainImagesBeforeTheLastRelu() {
        MethodRun<DeepCluster> run = run(K, 2);
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            assertEquals(List.of(-1), looked, "plain images, once");
            // with a ReLU half of the units would be constant: bias such that all are negative changes nothing
            int[] clusters = tensor(run, "clusters").toIntArray();
            tensor(run, "hidden.bias").fill(-100f);
            begin(run, 0, scope, N);
            assertArrayEquals(clusters, tensor(run, "clusters").toIntArray());
        }
    }

    @Test
    void clustersAreRenumberedAndEmptyOnesAreNoClass() {
        // four different images cannot fill six clusters
        MethodRun<DeepCluster> run = run(K, 2);
        try (Scope scope = device.scope().open()) {
            Epoch epoch = begin(run, 0, scope, 4);
            int[] clusters = tensor(run, "clusters").toIntArray();
            int used = tensor(run, "used").toIntArray()[0];
            assertEquals(4, used);
            assertEquals(4, Epochs.metrics(epoch).get(Epoch.CLUSTERS_USED));
            assertArrayEquals(new int[] {0, 1, 2, 3}, IntStream.of(clusters).distinct().sorted().toArray());
            for (int i = 4; i < N; i++) {
                assertEquals(clusters[i % 4], clusters[i], "equal images, equal clusters");
            }
            // the head's rows beyond the used ones have no part in the loss
            float loss = run.loss(0, 3);
            Tensor weight = tensor(run, "head.weight");
            weight.slice(0, used, K).fill(7f);
            tensor(run, "head.bias").slice(0, used, K).fill(7f);
            assertEquals(loss, run.loss(0, 3));
            weight.slice(0, used - 1, used).fill(7f);
            assertFalse(loss == run.loss(0, 3));
        }
    }

    @Test
    void manyClustersAreUsedBecauseEmptyOnesAreSplit() {
        // every image three times: k-means starts with equal ones, of which only the first gets rows
        MethodRun<DeepCluster> run = run(30, 3);
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, 30);
            int used = tensor(run, "used").toIntArray()[0];
            assertTrue(used >= 26, used + " of 30 clusters");
        }
    }

    /** Whitened features do not know how long each direction was. */
    @Test
    void theFeaturesAreWhitened() {
        MethodRun<DeepCluster> run = run(K, SIDE);
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            int[] clusters = tensor(run, "clusters").toIntArray();
            Tensor weight = tensor(run, "hidden.weight");
            for (int j = 0; j < HIDDEN; j++) {
                Tensor row = weight.slice(0, j, j + 1);
                row.addInPlace(row.copy(scope), j % 4);
            }
            begin(run, 0, scope, N);
            assertArrayEquals(clusters, tensor(run, "clusters").toIntArray());
        }
    }

    @Test
    void theFeaturesHaveUnitLength() {
        // in one dimension only two directions are left
        MethodRun<DeepCluster> run = run(K, 1);
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            assertEquals(2, tensor(run, "used").toIntArray()[0]);
        }
    }

    @Test
    void theLossIsTheCrossEntropyOfEachSamplesCluster() {
        MethodRun<DeepCluster> run = run(K, 2);
        long[] ids = IntStream.range(0, B).mapToLong(i -> (i * 53L + 89) % N).toArray();
        Function<Scope, Batch> batches = scope -> run.batch(scope, 3, ids, new int[0]);
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            // a head of std .01 predicts nothing yet; with larger weights a wrong label shows
            float[] w = tensor(run, "head.weight").toArray();
            for (int i = 0; i < w.length; i++) {
                w[i] *= 100;
            }
            tensor(run, "head.weight").copyFrom(w);
            int used = tensor(run, "used").toIntArray()[0];
            int[] clusters = tensor(run, "clusters").toIntArray();
            float[] hidden = tensor(run, "hidden.weight").toArray();
            float[] bias = tensor(run, "hidden.bias").toArray();
            double expected = 0;
            double size = 0;
            for (var view : batches.apply(scope).views()) {
                float[] x = MethodRun.features(view.images()).toArray();
                for (int b = 0; b < B; b++) {
                    double[] logits = new double[used];
                    for (int j = 0; j < HIDDEN; j++) {
                        double h = bias[j];
                        for (int d = 0; d < SIDE; d++) {
                            h += (double) x[b * SIDE + d] * hidden[j * SIDE + d];
                        }
                        for (int k = 0; k < used; k++) {
                            logits[k] += Math.max(0, h) * w[k * HIDDEN + j];
                        }
                    }
                    double sum = Arrays.stream(logits).map(Math::exp).sum();
                    expected += (Math.log(sum) - logits[clusters[(int) ids[b]]]) / (2 * B);
                    size = Math.max(size, Arrays.stream(logits).map(Math::abs).max().orElseThrow());
                }
            }
            // sums of HIDDEN products of the size of a logit
            double bound = HIDDEN * Math.ulp((float) size);
            float loss = run.loss(0, batches);
            assertEquals(expected, loss, bound);
            // ids that belong to other samples would give other labels
            long[] shifted = IntStream.range(0, B).mapToLong(i -> ids[(i + 1) % B]).toArray();
            float other = run.loss(0, inner -> run.batch(inner, 3, shifted, new int[0]));
            assertTrue(Math.abs(other - loss) > 10 * bound, other + " " + loss);
        }
    }

    @Test
    void theOrderIsBalancedOverTheClustersAndTheSameWhenAskedAgain() {
        MethodRun<DeepCluster> run = run(K, 2);
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            int used = tensor(run, "used").toIntArray()[0];
            int[] clusters = tensor(run, "clusters").toIntArray();
            int[] order = run.method.order(0, new RandomKey(7, 0, 1)).orElseThrow();
            int[] counts = new int[used];
            IntStream.of(order).forEach(sample -> counts[clusters[sample]]++);
            assertEquals(N, order.length);
            assertTrue(IntStream.of(counts).max().orElseThrow() - IntStream.of(counts).min().orElseThrow() <= 1);
            assertArrayEquals(order, run.method.order(0, new RandomKey(7, 0, 1)).orElseThrow(), "a resumed run asks again");
            assertFalse(Arrays.equals(order, run.method.order(1, new RandomKey(7, 1, 1)).orElseThrow()));
        }
    }

    @Test
    void whatCannotWorkIsOneLine() {
        var many = assertThrows(IllegalArgumentException.class, () -> run(N + 1, 2));
        assertEquals("clusters: 91 for 90 samples", many.getMessage());
    }
}
