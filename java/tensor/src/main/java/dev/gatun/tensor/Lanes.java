// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunStream;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A CPU's threads, to go through independent chains of operations side by side: a chain's operations are then one after the other on one
 * thread, and no thread waits for another between two of them, as it does within every operation that all threads share. A lane always goes
 * through the same chains with a memory of its own, so that what a step asks the system for does not depend on who is faster.
 */
public final class Lanes implements AutoCloseable {
    /** One of several chains. */
    @FunctionalInterface
    public interface Chain {
        /**
         * Does all of it, with calls of primitives on {@code stream} alone. Operations on tensors, filling and copying included, are not for
         * chains: they would run on the device's own stream, which belongs to no chain. Of a tensor a chain takes the shape, parts and the operand.
         *
         * @param stream for its operations
         * @param scope its own, closed when it is done
         * @param index which chain
         */
        void run(GatunStream stream, Scope scope, int index);
    }

    /** At most so many at once; where there are more threads, chains have several. */
    private static final int MOST = 4;

    private final GatunStream all;
    private final int threads;
    private final List<GatunContext> contexts = new ArrayList<>();
    private final List<GatunStream> streams = new ArrayList<>();
    /** A lane's memory; the first's also where there is one only. */
    private final List<Allocator> allocators = new ArrayList<>();
    private @Nullable ExecutorService others;

    /**
     * Makes no thread yet.
     *
     * @param all the stream that uses all threads
     * @param memory makes a lane's allocator
     */
    Lanes(GatunStream all, int threads, Supplier<Allocator> memory) {
        this.all = all;
        this.threads = threads;
        for (int lane = 0; lane < Math.clamp(threads, 1, MOST); lane++) {
            allocators.add(memory.get());
        }
    }

    /**
     * Runs chains that do not depend on each other. While somebody listens to the device's calls they run one after the other, each on all
     * threads, so that a call's time is its own.
     *
     * @param scope in which every chain gets its own
     * @param count how many chains
     * @throws RuntimeException of a chain that failed, or its error; no chain runs any more then
     */
    public void run(Scope scope, int count, Chain chain) {
        int lanes = Math.min(Math.min(count, MOST), threads);
        if (lanes <= 1 || all.isListenedTo()) {
            for (int i = 0; i < count; i++) {
                try (Scope own = scope.open(allocators.getFirst())) {
                    chain.run(all, own, i);
                }
            }
            return;
        }
        open();
        // The workers of what ran on all threads would spin on the cores of the lanes; with them a step took 1.4 times as long.
        all.context().releaseThreads();
        List<Future<?>> running = new ArrayList<>();
        Throwable failed = null;
        try {
            for (int lane = 1; lane < lanes; lane++) {
                int index = lane;
                running.add(others.submit(() -> drain(index, lanes, scope, count, chain)));
            }
            drain(0, lanes, scope, count, chain);
        } catch (RuntimeException | Error e) {
            failed = e;
        }
        for (Future<?> lane : running) {
            failed = join(lane, failed);
        }
        if (failed instanceof Error error) {
            throw error;
        }
        if (failed != null) {
            throw (RuntimeException) failed;
        }
    }

    /** Every lanes-th chain from the lane's own number on. */
    private void drain(int lane, int lanes, Scope scope, int count, Chain chain) {
        for (int i = lane; i < count; i += lanes) {
            try (Scope own = scope.open(allocators.get(lane))) {
                chain.run(streams.get(lane), own, i);
            }
        }
        if (contexts.get(lane).threads() > 1) {
            contexts.get(lane).releaseThreads();
        }
    }

    /** Waits to the end even if interrupted: the lane works on memory that the caller would free. */
    private static @Nullable Throwable join(Future<?> lane, @Nullable Throwable failed) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    lane.get();
                    return failed;
                } catch (InterruptedException e) {
                    interrupted = true;
                } catch (ExecutionException e) {
                    return failed != null ? failed : e.getCause();
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private void open() {
        if (others != null) {
            return;
        }
        int lanes = Math.min(MOST, threads);
        for (int lane = 0; lane < lanes; lane++) {
            GatunContext context = GatunContext.cpu(threads / lanes + (lane < threads % lanes ? 1 : 0));
            contexts.add(context);
            streams.add(context.stream());
        }
        others = Executors.newFixedThreadPool(lanes - 1, Thread.ofPlatform().daemon().name("gatun-lane-", 1).factory());
    }

    /** How often the lanes' allocators had to ask the system for memory. */
    long requests() {
        return allocators.stream().mapToLong(Allocator::requests).sum();
    }

    /** Gives cached memory back to the system. */
    void trim() {
        allocators.forEach(Allocator::trim);
    }

    /** Ends the threads. */
    @Override
    public void close() {
        if (others != null) {
            others.close();
            streams.forEach(GatunStream::close);
            contexts.forEach(GatunContext::close);
            others = null;
        }
        allocators.forEach(Allocator::close);
    }
}
