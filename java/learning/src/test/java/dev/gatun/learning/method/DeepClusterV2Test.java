// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import static dev.gatun.learning.method.MethodRun.B;
import static dev.gatun.learning.method.MethodRun.global;
import static dev.gatun.learning.method.MethodRun.local;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.data.View;
import dev.gatun.data.ViewRole;
import dev.gatun.learning.Epoch;
import dev.gatun.learning.Epochs;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.Kmeans;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.State;
import dev.gatun.tensor.optimizer.Sgd;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class DeepClusterV2Test {
    private static final int N = 60;
    private static final int D = 6;
    private static final List<Integer> K = List.of(5, 7, 4);
    private static final ViewRole[] VIEWS = {global(4), global(4), local(3)};

    private final Device device = Device.cpu(1);
    private final List<Integer> looked = new ArrayList<>();

    @AfterEach
    void close() {
        device.close();
    }

    private MethodRun<DeepClusterV2> run(List<Integer> prototypes, int samples, int width, ViewRole... views) {
        var settings = new DeepClusterV2Provider.Settings(prototypes, List.of(8), width, .1f, 10);
        return new MethodRun<>(device, new DeepClusterV2(settings), null, samples, 0, views);
    }

    private MethodRun<DeepClusterV2> run() {
        return run(K, N, D, VIEWS);
    }

    // images of all samples, others for each view
    private Tensor images(Scope scope, int view, int samples) {
        looked.add(view);
        SplittableRandom random = new SplittableRandom(100 + view);
        float[] pixels = new float[samples * 4 * 4];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (float) random.nextGaussian();
        }
        return scope.of(pixels, samples, 4, 4, 1);
    }

    /** Starts an epoch, and gives what it logged to a check. */
    private Epoch begin(MethodRun<DeepClusterV2> run, int index, Scope scope, int samples, int... labels) {
        Epoch epoch = Epochs.of(index, scope, 9, samples, labels, (inner, view, key) -> images(inner, view, samples));
        run.method.beforeEpoch(epoch);
        return epoch;
    }

    private static State state(MethodRun<?> run, String name) {
        return run.parameters.states().stream().filter(s -> s.name().equals(name)).findFirst().orElseThrow();
    }

    @Test
    void theFirstEpochClustersEmbeddingsOfViewsAsInTraining() {
        MethodRun<DeepClusterV2> run = run();
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            assertEquals(List.of(0, 1), looked, "one random view each of all samples for each bank");
            for (int view = 0; view < 2; view++) {
                Pass pass = Pass.trainingWithoutGradient(scope, new RandomKey(0, 0, 0));
                Tensor expected = run.method.embed(pass, MethodRun.features(images(scope, view, N)));
                assertArrayEquals(expected.toArray(), state(run, "bank." + view).value().toArray());
            }
            // later epochs look at memory only
            looked.clear();
            float[] bank = state(run, "bank.1").value().toArray();
            begin(run, 1, scope, N);
            assertEquals(List.of(), looked);
            assertArrayEquals(bank, state(run, "bank.1").value().toArray());
        }
    }

    @Test
    void everyHeadHasTheClustersOfItsBank() {
        MethodRun<DeepClusterV2> run = run();
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            for (int h = 0; h < K.size(); h++) {
                Tensor prototypes = state(run, "prototypes." + h).value();
                assertArrayEquals(new long[] {K.get(h), D}, prototypes.shape());
                for (float[] row : rows(prototypes.toArray(), D)) {
                    assertEquals(1, dot(row, row), 1e-6);
                }
                int[] clusters = state(run, "clusters." + h).value().toIntArray();
                Tensor own = state(run, "bank." + h % 2).value();
                Tensor other = state(run, "bank." + (h + 1) % 2).value();
                assertArrayEquals(Kmeans.assign(own, prototypes, true).toIntArray(), clusters);
                assertFalse(Arrays.equals(Kmeans.assign(other, prototypes, true).toIntArray(), clusters));
                // k-means has converged or nearly so: a prototype has the direction of its samples' mean
                double worst = 1;
                float[][] bank = rows(own.toArray(), D);
                float[][] centroids = rows(prototypes.toArray(), D);
                for (int k = 0; k < K.get(h); k++) {
                    int cluster = k;
                    float[] mean = new float[D];
                    IntStream.range(0, N).filter(i -> clusters[i] == cluster).forEach(i -> {
                        for (int d = 0; d < D; d++) {
                            mean[d] += bank[i][d];
                        }
                    });
                    worst = Math.min(worst, dot(mean, centroids[k]) / Math.sqrt(dot(mean, mean)));
                }
                assertTrue(worst > .98, "cosine " + worst);
            }
        }
    }

    private static float[][] rows(float[] values, int width) {
        return IntStream.range(0, values.length / width)
                .mapToObj(i -> Arrays.copyOfRange(values, i * width, (i + 1) * width))
                .toArray(float[][]::new);
    }

    private static double dot(float[] a, float[] b) {
        return IntStream.range(0, a.length).mapToDouble(i -> (double) a[i] * b[i]).sum();
    }

    @Test
    void allClustersAreUsed() {
        MethodRun<DeepClusterV2> run = run(List.of(100), 1000, 16, global(4), global(4));
        try (Scope scope = device.scope().open()) {
            Epoch epoch = begin(run, 0, scope, 1000);
            assertEquals(100, Epochs.metrics(epoch).get(Epoch.CLUSTERS_USED));
            assertEquals(100, IntStream.of(state(run, "clusters.0").value().toIntArray()).distinct().count());
        }
    }

    @Test
    void theAgreementWithTheEpochBeforeAndWithLabelsIsLogged() {
        MethodRun<DeepClusterV2> run = run();
        try (Scope scope = device.scope().open()) {
            assertFalse(Epochs.metrics(begin(run, 0, scope, N)).containsKey(Epoch.NMI_PREVIOUS), "nothing before the first");
            int[] clusters = state(run, "clusters.0").value().toIntArray();
            var logged = Epochs.metrics(begin(run, 1, scope, N, clusters));
            // the labels are the clusters of the epoch before, so that both are the same number
            assertEquals(logged.get(Epoch.NMI_PREVIOUS), logged.get(Epoch.NMI_LABELS));
            double agreement = logged.get(Epoch.NMI_PREVIOUS);
            assertTrue(agreement > 0 && agreement < 1, "another start of k-means: " + agreement);
        }
    }

    // 59, 52, 45, ...: in no order, none twice
    private static final long[] IDS = IntStream.range(0, B).mapToLong(i -> (i * 53L + 59) % N).toArray();

    private static Tensor embedded(MethodRun<DeepClusterV2> run, Scope scope, Batch batch) {
        Pass pass = Pass.trainingWithoutGradient(scope, new RandomKey(0, 0, 0));
        Tensor features = Tensor.concat(0, batch.views().stream()
                .map(View::images).map(MethodRun::features).toArray(Tensor[]::new));
        return run.method.embed(pass, features);
    }

    @Test
    void theBankHoldsTheEmbeddingsOfGlobalViewsBySampleId() {
        MethodRun<DeepClusterV2> run = run();
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            float[][] before = rows(state(run, "bank.1").value().toArray(), D);
            Batch batch = run.batch(scope, 3, IDS, new int[0]);
            float[][] z = rows(embedded(run, scope, batch).toArray(), D);
            run.loss(0, inner -> run.batch(inner, 3, IDS, new int[0]));
            for (int view = 0; view < 2; view++) {
                float[][] after = rows(state(run, "bank." + view).value().toArray(), D);
                for (int b = 0; b < B; b++) {
                    assertArrayEquals(z[view * B + b], after[(int) IDS[b]], "view " + view + " of sample " + IDS[b]);
                    assertEquals(1, dot(after[(int) IDS[b]], after[(int) IDS[b]]), 1e-6);
                }
            }
            float[][] after = rows(state(run, "bank.1").value().toArray(), D);
            for (int i = 0; i < N; i++) {
                long id = i;
                boolean seen = Arrays.stream(IDS).anyMatch(other -> other == id);
                assertEquals(!seen, Arrays.equals(before[i], after[i]), "only the batch's samples change: " + i);
            }
        }
    }

    @Test
    void everyViewPredictsItsSamplesClusterInEveryHead() {
        MethodRun<DeepClusterV2> run = run();
        try (Scope scope = device.scope().open()) {
            begin(run, 0, scope, N);
            float[][] z = rows(embedded(run, scope, run.batch(scope, 3, IDS, new int[0])).toArray(), D);
            double expected = 0;
            for (int h = 0; h < K.size(); h++) {
                float[][] c = rows(state(run, "prototypes." + h).value().toArray(), D);
                int[] clusters = state(run, "clusters." + h).value().toIntArray();
                for (int i = 0; i < VIEWS.length * B; i++) {
                    double sum = 0;
                    for (float[] centroid : c) {
                        sum += Math.exp(dot(z[i], centroid) / .1);
                    }
                    int cluster = clusters[(int) IDS[i % B]];
                    expected += (Math.log(sum) - dot(z[i], c[cluster]) / .1) / (K.size() * VIEWS.length * B);
                }
            }
            float loss = run.loss(0, inner -> run.batch(inner, 3, IDS, new int[0]));
            // a score's rounding is amplified by 1 / temperature
            double bound = 10 * 8 * Math.ulp(1f) * expected;
            assertEquals(expected, loss, bound);
            // the ids decide: in another order the loss is another
            long[] reversed = IntStream.range(0, B).mapToLong(i -> IDS[B - 1 - i]).toArray();
            float other = run.loss(0, inner -> run.batch(inner, 3, reversed, new int[0]));
            assertTrue(Math.abs(other - loss) > 10 * bound, other + " " + loss);
        }
    }

    @Test
    void prototypesNeverChangeWithinAnEpoch() {
        MethodRun<DeepClusterV2> run = run();
        // decay and momentum would move whatever the optimizer reaches, even without a gradient
        Sgd optimizer = new Sgd(run.parameters, .9f, false, .1f, p -> true);
        assertTrue(run.parameters.all().stream().noneMatch(p -> p.name().startsWith("prototypes")));
        float[][] old = null;
        for (int epoch = 0; epoch < 2; epoch++) {
            try (Scope scope = device.scope().open()) {
                begin(run, epoch, scope, N);
            }
            float[][] prototypes = prototypes(run);
            float[] head = run.parameters.sub("head").all().getFirst().value().toArray();
            for (int s = 0; s < MethodRun.STEPS_PER_EPOCH; s++) {
                long seed = s;
                Function<Scope, Batch> batches = scope -> run.batch(scope, seed, IDS, new int[0]);
                run.update(MethodRun.STEPS_PER_EPOCH * epoch + s, batches, optimizer, .1f);
                assertTrue(Arrays.deepEquals(prototypes, prototypes(run)), "bitwise");
            }
            assertFalse(Arrays.equals(head, run.parameters.sub("head").all().getFirst().value().toArray()), "the rest learns");
            assertFalse(Arrays.deepEquals(old, prototypes), "every epoch has its own");
            old = prototypes;
        }
    }

    private static float[][] prototypes(MethodRun<?> run) {
        return IntStream.range(0, K.size())
                .mapToObj(h -> state(run, "prototypes." + h).value().toArray())
                .toArray(float[][]::new);
    }

    @Test
    void whatCannotWorkIsOneLine() {
        var many = assertThrows(IllegalArgumentException.class, () -> run(List.of(5, 61), N, D, VIEWS));
        assertEquals("prototypes: 61 for 60 samples", many.getMessage());
        var none = assertThrows(IllegalArgumentException.class, () -> run(K, N, D, local(3), local(3)));
        assertTrue(none.getMessage().startsWith("deepcluster_v2 needs a global view"), none.getMessage());
    }
}
