// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Gives the batches of a training run. Which samples are in the batch of a global step, and how their views are drawn,
 * is a function of (seed, step) alone: a resumed run asks for step s and gets what it would have got.
 *
 * <p>Elements that must be read from files are read ahead by threads of its own while the caller works on the batch
 * before; views are always made on the caller's thread. One caller at a time.
 */
public final class Loader implements AutoCloseable {
    /** The stream of view 0; view v draws from this stream plus v. */
    public static final int VIEW_STREAM = 1 << 16;

    private final Dataset data;
    private final Views views;
    private final int batchSize;
    private final long batchesPerEpoch;
    private final long seed;
    private final ExecutorService readers;
    private long orderEpoch = -1;
    private boolean given;
    private int[] order = {};
    private long aheadStep = -1;
    private List<Future<Element>> ahead = List.of();
    private long waited;

    /**
     * Opens a loader.
     *
     * @param data the data
     * @param views how views are made
     * @param batchSize samples a batch, at least 1
     * @param dropLast whether an epoch leaves out the samples that do not fill a batch; else its last batch is smaller
     * @param seed the experiment's seed
     * @param readers how many threads read ahead, at least 1; none are started for data in memory
     * @throws DataException if an epoch would have no batch
     */
    public Loader(Dataset data, Views views, int batchSize, boolean dropLast, long seed, int readers) {
        this(data, views, batchSize, batches(data.size(), batchSize, dropLast), seed, readers);
    }

    private static long batches(int samples, int batchSize, boolean dropLast) {
        return batchSize < 1 ? 0 : dropLast ? samples / batchSize : (samples + batchSize - 1L) / batchSize;
    }

    /**
     * Opens a loader whose epochs have a given number of batches, for instance a multiple of those that make one update.
     *
     * @param data the data
     * @param views how views are made
     * @param batchSize samples a batch, at least 1
     * @param batchesPerEpoch at least 1; if it is more than the data fill, an epoch's last batch is smaller
     * @param seed the experiment's seed
     * @param readers how many threads read ahead, at least 1; none are started for data in memory
     * @throws DataException if an epoch would have no batch, or one without a sample
     */
    public Loader(Dataset data, Views views, int batchSize, long batchesPerEpoch, long seed, int readers) {
        if (batchSize < 1 || readers < 1) {
            throw new IllegalArgumentException("batch size and readers are at least 1, not " + batchSize + " and " + readers);
        }
        if (batchesPerEpoch < 1 || (batchesPerEpoch - 1) * batchSize >= data.size()) {
            throw new DataException("data", "an epoch has no batch: " + data.size() + " samples, batches of " + batchSize);
        }
        this.data = data;
        this.views = views;
        this.batchSize = batchSize;
        this.batchesPerEpoch = batchesPerEpoch;
        this.seed = seed;
        this.readers = Executors.newFixedThreadPool(readers, task -> Thread.ofPlatform().daemon().name("gatun-reader").unstarted(task));
    }

    /** The number of batches of an epoch. */
    public long batchesPerEpoch() {
        return batchesPerEpoch;
    }

    /** The epoch that a global step belongs to, from 0. */
    public long epoch(long step) {
        return step / batchesPerEpoch();
    }

    /**
     * The samples of a step's batch.
     *
     * @param step the global step, from 0
     */
    public int[] indices(long step) {
        long epoch = epoch(step);
        if (epoch != orderEpoch) {
            order = Shuffle.permutation(seed, epoch, Shuffle.EPOCH, data.size());
            orderEpoch = epoch;
            given = false;
        }
        int from = Math.toIntExact(step % batchesPerEpoch() * batchSize);
        return Arrays.copyOfRange(order, from, Math.min(from + batchSize, order.length));
    }

    /**
     * Says which samples an epoch visits; without it they are a random permutation of all. It holds until a step of another
     * epoch is asked for, so a caller says it before the epoch's first batch.
     *
     * @param epoch which epoch, from 0
     * @param samples in order, at least as many as the epoch's batches hold, of which more are left out; each in [0, data.size()),
     *     repetitions are allowed
     * @throws IllegalArgumentException if there are fewer, or one is out of range
     */
    public void order(long epoch, int[] samples) {
        int needed = (int) Math.min(batchesPerEpoch * batchSize, data.size());
        if (samples.length < needed) {
            throw new IllegalArgumentException("an epoch needs " + needed + " samples, got " + samples.length);
        }
        for (int sample : samples) {
            if (sample < 0 || sample >= data.size()) {
                throw new IllegalArgumentException("sample " + sample + " of " + data.size());
            }
        }
        order = Arrays.copyOf(samples, needed);
        orderEpoch = epoch;
        given = true;
        aheadStep = -1;
    }

    /**
     * The batch of a step.
     *
     * @param scope where its tensors live
     * @param step the global step, from 0
     * @throws DataException if an element cannot be read; one line that names its file
     */
    public Batch batch(Scope scope, long step) {
        try (Scope staging = scope.open()) {
            Samples samples = samples(step);
            return batch(scope, samples, samples.place(staging), step);
        }
    }

    /**
     * The elements of a step's batch, read.
     *
     * @param step the global step, from 0
     * @throws DataException if an element cannot be read; one line that names its file
     */
    public Samples samples(long step) {
        long start = System.nanoTime();
        int[] indices = indices(step);
        Samples samples = views.samples(data.resident() ? data : readAhead(indices, step), indices);
        waited += System.nanoTime() - start;
        return samples;
    }

    /** Nanoseconds for which callers of {@link #samples} and {@link #batch(Scope, long)} have waited for samples. */
    public long waitedNanos() {
        return waited;
    }

    /**
     * The batch of a step from its samples.
     *
     * @param scope where the batch's tensors live
     * @param samples of the step
     * @param tensors what they store, on the device
     * @param step the global step, from 0
     */
    public Batch batch(Scope scope, Samples samples, List<Tensor> tensors, long step) {
        return views.make(scope, samples, tensors, new RandomKey(seed, step, VIEW_STREAM));
    }

    private Dataset readAhead(int[] indices, long step) {
        List<Future<Element>> mine = step == aheadStep ? ahead : submit(indices);
        Map<Integer, Element> elements = HashMap.newHashMap(indices.length);
        try {
            for (int i = 0; i < indices.length; i++) {
                elements.put(indices[i], mine.get(i).get());
            }
        } catch (ExecutionException e) {
            throw e.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new DataException("data", "interrupted while reading a batch", e);
        }
        // the order of an epoch after a given one is not known yet
        boolean known = !given || epoch(step + 1) == epoch(step);
        aheadStep = known ? step + 1 : -1;
        ahead = known ? submit(indices(aheadStep)) : List.of();
        return new ReadAhead(data, elements);
    }

    private List<Future<Element>> submit(int[] indices) {
        List<Future<Element>> futures = new ArrayList<>(indices.length);
        for (int index : indices) {
            futures.add(readers.submit(() -> data.read(index)));
        }
        return futures;
    }

    /** Stops the threads that read ahead. */
    @Override
    public void close() {
        readers.shutdownNow();
    }

    /** A data set of which some elements have been read already. */
    private static final class ReadAhead extends ForwardingDataset {
        private final Map<Integer, Element> elements;

        ReadAhead(Dataset data, Map<Integer, Element> elements) {
            super(data);
            this.elements = elements;
        }

        @Override
        public Element read(int index) {
            Element element = elements.get(index);
            return element == null ? data.read(index) : element;
        }

        @Override
        public boolean resident() {
            return true;
        }
    }
}
