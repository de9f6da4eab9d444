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
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * A CPU's threads, to go through independent chains of operations side by side: a chain's operations are then one after the other on one
 * thread, and no thread waits for another between two of them, as it does within every operation that all threads share.
 */
public final class Lanes implements AutoCloseable {
    /** One of several chains. */
    @FunctionalInterface
    public interface Chain {
        /**
         * Does all of it.
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
    private @Nullable ExecutorService others;

    /** @param all the stream that uses all threads */
    Lanes(GatunStream all, int threads) {
        this.all = all;
        this.threads = threads;
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
                one(all, scope, i, chain);
            }
            return;
        }
        open();
        AtomicInteger next = new AtomicInteger();
        List<Future<?>> running = new ArrayList<>();
        Throwable failed = null;
        try {
            for (int lane = 1; lane < lanes; lane++) {
                GatunStream stream = streams.get(lane);
                running.add(others.submit(() -> drain(stream, scope, next, count, chain)));
            }
            drain(streams.getFirst(), scope, next, count, chain);
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

    private static void one(GatunStream stream, Scope scope, int index, Chain chain) {
        try (Scope own = scope.open()) {
            chain.run(stream, own, index);
        }
    }

    private static void drain(GatunStream stream, Scope scope, AtomicInteger next, int count, Chain chain) {
        for (int i = next.getAndIncrement(); i < count; i = next.getAndIncrement()) {
            one(stream, scope, i, chain);
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

    /** Ends the threads. */
    @Override
    public void close() {
        if (others != null) {
            others.close();
            streams.forEach(GatunStream::close);
            contexts.forEach(GatunContext::close);
            others = null;
        }
    }
}
