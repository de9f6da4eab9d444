// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunEvent;
import dev.gatun.primitives.GatunStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What comes to a device from the host. Values of the computation go behind what the device was told before, on its own stream, and the host
 * does not wait for them; {@link UploadTarget}s go by a stream of their own and overlap the computation. Both by way of pinned memory. On
 * the CPU the same calls write the memory in place.
 *
 * <p>Memory belongs to the computing stream: an upload target's block is lent to the copying stream by an event behind which the computing
 * stream has no use for it, and given back by one behind which the copy is done.
 */
public final class Uploads {
    /** Longer copies go in pieces, so that little memory is pinned. */
    private static final long PIECE = 4 << 20;

    private final Device device;
    private final GatunContext context;
    private final StagingRing values;
    private final Set<UploadTarget> targets = new LinkedHashSet<>();
    private @Nullable GatunStream stream;
    private @Nullable StagingRing ring;
    private boolean closed;

    Uploads(Device device, GatunContext context) {
        this.device = device;
        this.context = context;
        this.values = new StagingRing(context, device.stream());
    }

    /**
     * Memory for a tensor that the host fills again and again. It is made by the thread that computes, and closed by it or with the device.
     *
     * @param type its type
     * @param shape its shape
     */
    public UploadTarget target(DType type, long... shape) {
        UploadTarget target = new UploadTarget(this, device, type, shape);
        synchronized (targets) {
            targets.add(target);
        }
        return target;
    }

    /** Bytes of pinned host memory that uploads hold now. */
    public synchronized long pinnedBytes() {
        return values.heldBytes() + (ring == null ? 0 : ring.heldBytes());
    }

    /** Copies host memory of any kind behind what the device was told to do; the host memory may be written again at once. */
    void send(MemorySegment host, MemorySegment memory) {
        for (long at = 0; at < memory.byteSize(); at += PIECE) {
            MemorySegment from = host.asSlice(at, Math.min(PIECE, memory.byteSize() - at));
            values.copy(memory.asSlice(at, from.byteSize()), staged -> staged.copyFrom(from), Runnable::run);
        }
    }

    /** As {@link #send}, of what {@code writer} writes. */
    void write(MemorySegment memory, Consumer<MemorySegment> writer) {
        if (memory.byteSize() <= PIECE) {
            values.copy(memory, writer, Runnable::run);
            return;
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(memory.byteSize(), Long.BYTES);
            writer.accept(host);
            send(host, memory);
        }
    }

    /** Copies what {@code writer} writes on the copying stream, after one event and before another. */
    void fill(MemorySegment memory, Consumer<MemorySegment> writer, GatunEvent after, GatunEvent before) {
        StagingRing to;
        GatunStream copying;
        synchronized (this) {
            if (closed) {
                throw new TensorException("the device is closed");
            }
            if (stream == null) {
                stream = context.stream();
            }
            copying = stream;
            if (ring == null) {
                ring = new StagingRing(context, copying);
            }
            to = ring;
        }
        to.copy(memory, writer, copy -> {
            copying.waitFor(after);
            copy.run();
            before.record(copying);
        });
    }

    GatunEvent event() {
        return new GatunEvent(context);
    }

    void closed(UploadTarget target) {
        synchronized (targets) {
            targets.remove(target);
        }
    }

    /** Before the device's memory goes. */
    void close() {
        List<UploadTarget> open;
        synchronized (targets) {
            open = List.copyOf(targets);
        }
        open.forEach(UploadTarget::close);
        synchronized (this) {
            closed = true;
            if (ring != null) {
                ring.close();
            }
            if (stream != null) {
                stream.close();
            }
        }
        values.close();
    }
}
