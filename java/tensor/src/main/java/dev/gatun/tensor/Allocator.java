// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * A caching allocator: memory that scopes give back is kept by size class and handed out again, so a training step that
 * repeats its shapes asks the system for nothing after the first ones. Where nothing of a large request's class is left, a larger block
 * stands in: what lies unused costs as much as what is used. Safe for use from several threads (a loader may fill a
 * batch while the trainer steps): all allocators of a device share one lock, for one that the device refuses has the others give back.
 *
 * <p>It serves one stream, the device's: memory is handed out again as soon as the host gives it back, though the device may still work on
 * it, because what its next owner is told comes after that on the same stream. Who lends memory to another stream puts events around the loan
 * ({@link Uploads}).
 */
final class Allocator {
    /** Where memory comes from. */
    interface Source {
        /** @throws GatunException OUT_OF_MEMORY if there is none */
        MemorySegment allocate(long bytes);

        void free(MemorySegment memory);

        /** Gives back what other allocators of the device cache and may do without. */
        void trim();

        /** The error of a request that failed again after everything was given back. */
        GatunException refusal(long bytes, long trimmed, GatunException refused);
    }

    /** Bytes that all allocators of one device have handed out and obtained. */
    static final class Usage {
        private long live;
        private long peak;
        private long held;
        private long heldPeak;

        private synchronized void add(long handedOut, long obtained) {
            live += handedOut;
            held += obtained;
            peak = Math.max(peak, live);
            heldPeak = Math.max(heldPeak, held);
        }

        synchronized void resetPeak() {
            peak = live;
            heldPeak = held;
        }

        synchronized long live() {
            return live;
        }

        synchronized long peak() {
            return peak;
        }

        synchronized long held() {
            return held;
        }

        synchronized long heldPeak() {
            return heldPeak;
        }
    }

    private static final long SMALLEST = 256;
    private static final long LARGE = 1 << 20;

    private final Source source;
    private final Usage usage;
    private final Fit fit;
    private final NavigableMap<Long, ArrayDeque<MemorySegment>> free = new TreeMap<>();
    /** Blocks of which only the beginning is lent, by address. */
    private final Map<Long, MemorySegment> larger = new HashMap<>();
    private long requests;
    private long held;
    private boolean fixed;
    private boolean watched;
    /** Handed out while watched, and not given back. */
    private final Set<MemorySegment> lent = new HashSet<>();
    private boolean closed;

    /** Which cached blocks may be handed out for a request, the smallest of them first. */
    enum Fit {
        /** Those of its class: what is there then suffices in any order of requests. */
        EXACT,
        /** For large requests also blocks of up to twice the size. */
        NEAR,
        /** All that are large enough: for what is given back soon. */
        ANY
    }

    /** @param usage of the device, beside its other allocators */
    Allocator(Source source, Usage usage, Fit fit) {
        this.source = source;
        this.usage = usage;
        this.fit = fit;
    }

    /**
     * Rounds up to a size class: four classes between two powers of two, so at most a quarter of a block is wasted. Of large blocks, which
     * are what a step's memory consists of, at most a sixty-fourth: sixty-four classes.
     */
    static long sizeClass(long bytes) {
        if (bytes <= SMALLEST) {
            return SMALLEST;
        }
        long step = Math.max(SMALLEST, Long.highestOneBit(bytes - 1) >> (bytes > LARGE ? 6 : 2));
        return Math.addExact(bytes, step - 1) / step * step;
    }

    /** Memory of at least {@code bytes}; its byteSize is the size class. Contents are undefined. */
    MemorySegment allocate(long bytes) {
        synchronized (usage) {
            if (closed) {
                throw new TensorException("the device is closed");
            }
            long size = sizeClass(bytes);
            MemorySegment memory = cached(size);
            if (memory == null) {
                if (fixed) {
                    throw new TensorException("it needs " + size + " bytes that its rehearsal did not need");
                }
                requests++;
                memory = request(size);
                held += size;
                usage.add(0, size);
            }
            usage.add(size, 0);
            if (watched) {
                lent.add(memory);
            }
            return memory;
        }
    }

    private @Nullable MemorySegment cached(long size) {
        long most = switch (fit) {
            case EXACT -> size;
            case NEAR -> size <= LARGE ? size : 2 * size;
            case ANY -> Long.MAX_VALUE;
        };
        for (var blocks = free.ceilingEntry(size); blocks != null && blocks.getKey() <= most; blocks = free.higherEntry(blocks.getKey())) {
            MemorySegment memory = blocks.getValue().pollLast();
            if (memory == null) {
                continue;
            }
            if (memory.byteSize() > size) {
                larger.put(memory.address(), memory);
                memory = memory.asSlice(0, size);
            }
            return memory;
        }
        return null;
    }

    /**
     * From now on it counts what is not given back.
     *
     * @param fix whether what is not cached is an error: memory cannot be obtained while a stream records
     */
    void watch(boolean fix) {
        synchronized (usage) {
            watched = true;
            fixed = fix;
        }
    }

    /** Ends {@link #watch}. @return bytes handed out since and not given back, though others may have been in their place */
    long unwatch() {
        synchronized (usage) {
            long left = lent.stream().mapToLong(MemorySegment::byteSize).sum();
            lent.clear();
            watched = false;
            fixed = false;
            return left;
        }
    }

    private MemorySegment request(long size) {
        try {
            return source.allocate(size);
        } catch (GatunException refused) {
            if (refused.status() != GatunException.Status.OUT_OF_MEMORY) {
                throw refused;
            }
        }
        // what the caches hold in other classes may be what the device lacks
        long before = usage.held();
        trim();
        source.trim();
        try {
            return source.allocate(size);
        } catch (GatunException refused) {
            throw refused.status() == GatunException.Status.OUT_OF_MEMORY ? source.refusal(size, before - usage.held(), refused) : refused;
        }
    }

    void release(MemorySegment memory) {
        synchronized (usage) {
            long size = memory.byteSize();
            usage.add(-size, 0);
            if (watched) {
                lent.remove(memory);
            }
            MemorySegment whole = larger.isEmpty() ? null : larger.remove(memory.address());
            if (whole == null) {
                whole = memory;
            }
            if (closed) {
                giveBack(whole);
                return;
            }
            free.computeIfAbsent(whole.byteSize(), s -> new ArrayDeque<>()).addLast(whole);
        }
    }

    /** Gives cached memory back to the system. */
    void trim() {
        synchronized (usage) {
            free.values().forEach(list -> list.forEach(this::giveBack));
            free.clear();
        }
    }

    private void giveBack(MemorySegment memory) {
        held -= memory.byteSize();
        usage.add(0, -memory.byteSize());
        source.free(memory);
    }

    void close() {
        synchronized (usage) {
            closed = true;
            trim();
        }
    }

    long requests() {
        synchronized (usage) {
            return requests;
        }
    }
}
