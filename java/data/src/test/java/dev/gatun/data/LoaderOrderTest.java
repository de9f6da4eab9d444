// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Epochs whose samples the caller chooses. */
class LoaderOrderTest {
    private static final int SAMPLES = 23;
    private static final int BATCH = 4;
    private static final int BATCHES = 3; // an epoch leaves out most samples
    private static final long SEED = 9;

    /** Sample i is the byte i; every read is noted. */
    private static final class Noted implements Dataset {
        final ConcurrentLinkedQueue<Integer> reads = new ConcurrentLinkedQueue<>();

        @Override
        public int size() {
            return SAMPLES;
        }

        @Override
        public Element read(int index) {
            reads.add(index);
            return new Element(new long[] {1, 1, 1}, MemorySegment.ofArray(new byte[] {(byte) index}));
        }

        @Override
        public boolean labelled() {
            return false;
        }

        @Override
        public int label(int index) {
            return -1;
        }

        @Override
        public int classes() {
            return 0;
        }

        @Override
        public List<String> classNames() {
            return List.of();
        }

        @Override
        public String describe(int index) {
            return "sample " + index;
        }
    }

    private final Noted data = new Noted();

    private Loader loader() {
        return new Loader(data, LoaderTest.VIEWS, BATCH, (long) BATCHES, SEED, 2);
    }

    private void assertBatch(Loader loader, long step, int... samples) {
        assertArrayEquals(samples, loader.indices(step), "step " + step);
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            Batch batch = loader.batch(scope, step);
            assertArrayEquals(Arrays.stream(samples).asLongStream().toArray(), batch.ids(), "step " + step);
            float[] values = batch.views().getFirst().images().toArray();
            for (int i = 0; i < samples.length; i++) {
                assertEquals(samples[i] + 100 * step, values[i], "what is shown is the sample, step " + step);
            }
        }
    }

    private static int[] shuffled(long epoch, int batch) {
        int[] order = Shuffle.permutation(SEED, epoch, Shuffle.EPOCH, SAMPLES);
        return Arrays.copyOfRange(order, batch * BATCH, (batch + 1) * BATCH);
    }

    @Test
    void anOrderHoldsForItsEpochAndMayRepeatSamples() {
        int[] order = {5, 5, 5, 2, 22, 0, 5, 1, 7, 7, 0, 3, 11, 12};
        try (Loader loader = loader()) {
            assertBatch(loader, 0, shuffled(0, 0));
            loader.order(1, order);
            order[4] = 21; // the loader has its own copy
            assertBatch(loader, 3, 5, 5, 5, 2);
            assertBatch(loader, 4, 22, 0, 5, 1);
            assertBatch(loader, 4, 22, 0, 5, 1);
            assertBatch(loader, 5, 7, 7, 0, 3);
            assertBatch(loader, 6, shuffled(2, 0));
        }
    }

    @Test
    void everyEpochMayHaveItsOwnAndAResumedRunStartsInside() {
        try (Loader loader = loader(); Loader resumed = loader()) {
            for (int epoch = 0; epoch < 4; epoch++) {
                int first = epoch;
                int[] order = IntStream.range(0, BATCHES * BATCH).map(i -> (3 * i + first) % SAMPLES).toArray();
                loader.order(epoch, order);
                for (int b = 0; b < BATCHES; b++) {
                    long step = (long) epoch * BATCHES + b;
                    assertBatch(loader, step, Arrays.copyOfRange(order, b * BATCH, (b + 1) * BATCH));
                    if (step == 4) {
                        resumed.order(epoch, order);
                    }
                    if (step == 4 || step == 5) {
                        assertBatch(resumed, step, Arrays.copyOfRange(order, b * BATCH, (b + 1) * BATCH));
                    }
                }
            }
        }
    }

    /** What is read ahead over the end of an epoch is a guess; an order that is given then must win. */
    @Test
    void anOrderReplacesWhatWasReadAhead() {
        int[] order = IntStream.range(0, BATCHES * BATCH).map(i -> SAMPLES - 1 - i).toArray();
        try (Loader loader = loader()) {
            for (int b = 0; b < BATCHES; b++) {
                assertBatch(loader, b, shuffled(0, b));
            }
            loader.order(1, order);
            assertBatch(loader, 3, 22, 21, 20, 19);
            loader.order(1, IntStream.range(0, BATCHES * BATCH).toArray());
            assertBatch(loader, 4, 4, 5, 6, 7);
        }
    }

    @Test
    void nothingIsReadAheadOfAnOrderThatIsNotKnown() {
        int[] order = IntStream.range(0, BATCHES * BATCH).toArray();
        Loader loader = loader();
        loader.order(0, order);
        for (int b = 0; b < BATCHES; b++) {
            assertBatch(loader, b, Arrays.copyOfRange(order, b * BATCH, (b + 1) * BATCH));
        }
        loader.close();
        assertEquals(Arrays.stream(order).boxed().toList(), data.reads.stream().sorted().toList(), "each read once");
    }

    @Test
    void withoutAnOrderTheNextEpochIsReadAhead() throws InterruptedException {
        try (Loader loader = loader()) {
            assertBatch(loader, 2, shuffled(0, 2));
            List<Integer> next = Arrays.stream(shuffled(1, 0)).boxed().sorted().toList();
            for (int wait = 0; wait < 500 && data.reads.size() < 2 * BATCH; wait++) {
                Thread.sleep(2);
            }
            assertEquals(next, data.reads.stream().skip(BATCH).sorted().toList());
            data.reads.clear();
            assertBatch(loader, 3, shuffled(1, 0));
            assertFalse(data.reads.containsAll(next), "not read again");
        }
    }

    @Test
    void ordersThatCannotBeAreRefused() {
        try (Loader loader = loader()) {
            String few = assertThrows(IllegalArgumentException.class, () -> loader.order(0, new int[11])).getMessage();
            assertEquals("an epoch needs 12 samples, got 11", few);
            for (int wrong : new int[] {-1, SAMPLES}) {
                int[] order = new int[12];
                order[11] = wrong;
                String message = assertThrows(IllegalArgumentException.class, () -> loader.order(0, order)).getMessage();
                assertEquals("sample " + wrong + " of 23", message);
            }
            assertBatch(loader, 0, shuffled(0, 0));
        }
        // an epoch of all samples, whose last batch is smaller
        try (Loader loader = new Loader(data, LoaderTest.VIEWS, 10, false, SEED, 1)) {
            int[] all = IntStream.range(0, SAMPLES).map(i -> SAMPLES - 1 - i).toArray();
            assertThrows(IllegalArgumentException.class, () -> loader.order(0, Arrays.copyOf(all, 22)));
            loader.order(0, all);
            assertBatch(loader, 2, 2, 1, 0);
            // more samples than an epoch has make it no longer
            loader.order(1, IntStream.range(0, 40).map(i -> i % SAMPLES).toArray());
            assertBatch(loader, 5, 20, 21, 22);
        }
    }
}
