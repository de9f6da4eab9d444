// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunEvent;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.NativeMemory;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Pinned host memory through which values go to a device by way of one stream: the host writes a buffer, its copy is submitted, and the buffer
 * is written again once an event says that the copy is done. The host waits only when it is so far ahead that the ring is full. Safe for
 * use from several threads.
 */
final class StagingRing implements AutoCloseable {
    private static final long SMALLEST = 1 << 16;
    private static final long BYTES = 64 << 20;
    private static final int BUFFERS = 64;
    private static final int OF_THE_LARGEST = 3;

    private record Buffer(MemorySegment memory, GatunEvent copied) {}

    private final GatunContext context;
    private final GatunStream stream;
    /** In the order in which their copies were submitted, which is that in which they are done. */
    private final Deque<Buffer> buffers = new ArrayDeque<>();

    private int count;
    private long held;

    StagingRing(GatunContext context, GatunStream stream) {
        this.context = context;
        this.stream = stream;
    }

    /**
     * Lets {@code writer} fill pinned memory and submits its copy to {@code target}.
     *
     * @param submit is given what submits the copy, to put before and behind it what belongs to it; under this ring's lock
     */
    void copy(MemorySegment target, Consumer<MemorySegment> writer, Consumer<Runnable> submit) {
        long bytes = target.byteSize();
        Buffer buffer = acquire(bytes);
        boolean submitted = false;
        try {
            MemorySegment staged = buffer.memory().asSlice(0, bytes);
            writer.accept(staged);
            synchronized (this) {
                submit.accept(() -> NativeMemory.copy(stream, target, staged));
                buffer.copied().record(stream);
                buffers.addLast(buffer);
                submitted = true;
            }
        } finally {
            if (!submitted) {
                discard(buffer);
            }
        }
    }

    private synchronized Buffer acquire(long bytes) {
        Buffer buffer = smallestDone(bytes);
        while (buffer == null && !buffers.isEmpty() && (count >= BUFFERS || held + bytes > Math.max(BYTES, OF_THE_LARGEST * bytes))) {
            Buffer oldest = buffers.removeFirst();
            oldest.copied().synchronize();
            if (oldest.memory().byteSize() >= bytes) {
                buffer = oldest;
            } else {
                discard(oldest);
            }
        }
        if (buffer != null) {
            return buffer;
        }
        MemorySegment memory = NativeMemory.allocateHost(context, Math.max(SMALLEST, bytes));
        count++;
        held += memory.byteSize();
        return new Buffer(memory, new GatunEvent(context));
    }

    private @Nullable Buffer smallestDone(long bytes) {
        Buffer best = null;
        for (Buffer buffer : buffers) {
            if (!buffer.copied().isDone()) {
                break;
            }
            long size = buffer.memory().byteSize();
            if (size >= bytes && (best == null || size < best.memory().byteSize())) {
                best = buffer;
            }
        }
        if (best != null) {
            for (Iterator<Buffer> all = buffers.iterator(); all.hasNext(); ) {
                if (all.next() == best) {
                    all.remove();
                    break;
                }
            }
        }
        return best;
    }

    private synchronized void discard(Buffer buffer) {
        count--;
        held -= buffer.memory().byteSize();
        buffer.copied().synchronize();
        buffer.copied().close();
        NativeMemory.freeHost(context, buffer.memory());
    }

    /** Pinned bytes that it holds. */
    synchronized long heldBytes() {
        return held;
    }

    /** Waits for the copies and frees the memory; no one may be copying. */
    @Override
    public synchronized void close() {
        while (!buffers.isEmpty()) {
            discard(buffers.removeFirst());
        }
    }
}
