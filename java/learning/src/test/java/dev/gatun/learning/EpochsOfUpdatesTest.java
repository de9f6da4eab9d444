// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.data.Shuffle;
import dev.gatun.learning.method.DeepClusterV2Provider;
import dev.gatun.learning.pipeline.BatchSettings;
import dev.gatun.learning.pipeline.CheckpointSettings;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a method is called with, and when: epochs are whole updates, and their samples are those that the method chose. */
class EpochsOfUpdatesTest {
    private static final int SAMPLES = 100;
    private static final int BATCH = 12;
    private static final int PARTS = 3; // 8 batches fit: 2 updates of 3, and 2 batches and 4 samples are left out
    private static final int UPDATES = 2;
    private static final int EPOCHS = 3;

    @TempDir
    Path folder;

    private final List<String> calls = new ArrayList<>();
    private final List<List<Long>> ids = new ArrayList<>();

    /** Notes its calls; draws the samples of an epoch by a rule, with repetitions, or leaves them to the trainer. */
    private final class Noting extends Synthetic.Pull {
        private final boolean orders;

        Noting(boolean orders) {
            this.orders = orders;
        }

        @Override
        public Method create(Record settings) {
            Method pull = super.create(settings);
            return new Method() {
                @Override
                public void build(MethodBuild build) {
                    assertEquals(UPDATES, build.stepsPerEpoch());
                    assertEquals(UPDATES * EPOCHS, build.steps());
                    assertEquals(SAMPLES, build.samples());
                    pull.build(build);
                }

                @Override
                public void beforeEpoch(Epoch epoch) {
                    calls.add("epoch " + epoch.index());
                    assertEquals(EPOCHS, epoch.total());
                    assertEquals(SAMPLES, epoch.samples());
                    epoch.log("noted", epoch.index() + 10);
                }

                @Override
                public Optional<int[]> order(int epoch, RandomKey key) {
                    calls.add("order " + epoch);
                    return orders ? Optional.of(chosen(epoch)) : Optional.empty();
                }

                @Override
                public void beforeStep(Step step) {
                    calls.add("before " + step.index());
                    assertEquals(step.index() / UPDATES, step.epoch());
                }

                @Override
                public Tensor loss(Batch batch, Step step) {
                    calls.add("loss " + step.index());
                    ids.add(Arrays.stream(batch.ids()).boxed().toList());
                    return pull.loss(batch, step);
                }

                @Override
                public void afterBackward(Step step) {
                    calls.add("backward " + step.index());
                }

                @Override
                public void afterUpdate(Step step) {
                    calls.add("update " + step.index());
                }
            };
        }
    }

    private static int[] chosen(int epoch) {
        return IntStream.range(0, SAMPLES).map(i -> (i * i + epoch) % 31).toArray();
    }

    private Pipeline pipeline(boolean orders) {
        Pipeline pipeline = Synthetic.pipeline(new Noting(orders), new Synthetic.Pull.Settings(), SAMPLES, EPOCHS);
        return Runs.with(pipeline, new BatchSettings(BATCH, PARTS), new CheckpointSettings(1, 0, ""));
    }

    private static List<String> update(int step) {
        return List.of("before " + step, "loss " + step, "loss " + step, "loss " + step, "backward " + step, "update " + step);
    }

    @Test
    void hooksComeInOrderAndEpochsAreWholeUpdates() {
        assertTrue(Runs.train(pipeline(false), folder, false, ProgressListener.SILENT));
        List<String> expected = new ArrayList<>();
        for (int epoch = 0; epoch < EPOCHS; epoch++) {
            expected.addAll(List.of("epoch " + epoch, "order " + epoch));
            expected.addAll(update(UPDATES * epoch));
            expected.addAll(update(UPDATES * epoch + 1));
        }
        assertEquals(expected, calls);
        var lines = Runs.metrics(folder);
        for (int step = 0; step < UPDATES * EPOCHS; step++) {
            assertEquals(step % UPDATES == 0 ? 10.0 + step / UPDATES : null, lines.get(step).get("noted"), "with the epoch's first step");
        }
    }

    private int[] visited(int epoch) {
        int batches = UPDATES * PARTS;
        return ids.subList(epoch * batches, (epoch + 1) * batches).stream()
                .flatMap(List::stream).mapToInt(Long::intValue).toArray();
    }

    @Test
    void withoutAnOrderEveryEpochVisitsDifferentSamplesOnce() {
        Runs.train(pipeline(false), folder, false, ProgressListener.SILENT);
        for (int epoch = 0; epoch < EPOCHS; epoch++) {
            int[] all = Shuffle.permutation(7, epoch, Shuffle.EPOCH, SAMPLES);
            assertArrayEquals(Arrays.copyOf(all, UPDATES * PARTS * BATCH), visited(epoch));
        }
    }

    @Test
    void theOrderOfAMethodIsWhatItsEpochVisits() {
        Runs.train(pipeline(true), folder, false, ProgressListener.SILENT);
        for (int epoch = 0; epoch < EPOCHS; epoch++) {
            assertArrayEquals(Arrays.copyOf(chosen(epoch), UPDATES * PARTS * BATCH), visited(epoch), "epoch " + epoch);
        }
    }

    @Test
    void aResumedRunAsksForTheOrderAgainButNotForTheEpoch() {
        Pipeline pipeline = Runs.with(
                pipeline(true), new BatchSettings(BATCH, PARTS), new CheckpointSettings(1, 1, ""));
        assertThrows(Runs.Killed.class, () -> Runs.train(pipeline, folder, false, new Runs.KillAfter(4)));
        calls.clear();
        ids.clear();
        assertTrue(Runs.train(pipeline, folder, true, ProgressListener.SILENT));
        // the checkpoint is that of step 3, inside the second epoch
        assertEquals(List.of("order 1", "before 3"), calls.subList(0, 2));
        assertEquals("epoch 2", calls.get(1 + update(3).size()));
        assertArrayEquals(
                Arrays.copyOfRange(chosen(1), PARTS * BATCH, 2 * PARTS * BATCH),
                ids.subList(0, PARTS).stream().flatMap(List::stream).mapToInt(Long::intValue).toArray());
        var lines = Runs.metrics(folder);
        assertEquals(UPDATES * EPOCHS, lines.size());
        assertEquals(11.0, lines.get(2).get("noted"), "what was logged before the kill is still there");
    }

    @Test
    void oneSampleBeyondTheLastWholeBatchIsSeenWithIt() {
        var settings = new DeepClusterV2Provider.Settings(List.of(3), List.of(6), 4, .1f, 3);
        assertTrue(Runs.train(
                Synthetic.pipeline(new DeepClusterV2Provider(), settings, 2 * BATCH + 1, 2), folder, false, ProgressListener.SILENT));
    }
}
