// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.NativeMemory;
import java.lang.foreign.MemorySegment;

/**
 * Where tensors live and operations run: one native context with one stream, a caching allocator and a GEMM. There is no global
 * state; a program may use several devices, and tensors of two devices do not mix.
 */
public final class Device implements AutoCloseable {
    private final GatunContext context;
    private final GatunStream stream;
    private final Allocator allocator;
    private final Gemm gemm;
    private final Scope root;
    private final int threads;
    private boolean closed;

    private Device(GatunContext context, Gemm gemm) {
        this.context = context;
        this.stream = context.stream();
        this.threads = context.threads();
        this.gemm = gemm;
        this.allocator = new Allocator(new Allocator.Source() {
            @Override
            public MemorySegment allocate(long bytes) {
                return NativeMemory.allocate(context, bytes);
            }

            @Override
            public void free(MemorySegment memory) {
                NativeMemory.free(context, memory);
            }
        });
        this.root = new Scope(this, null);
    }

    /**
     * The CPU.
     *
     * @param threads how many threads an operation may use; 0 means all that the process may use. Results of Gatun's own
     *     kernels do not depend on it.
     */
    public static Device cpu(int threads) {
        GatunContext context = GatunContext.cpu(threads);
        return new Device(context, new OneDnn());
    }

    /** Threads an operation uses. */
    public int threads() {
        return threads;
    }

    /** The device in words, for logs and reports. */
    public String name() {
        return "cpu";
    }

    /** The stream on which this device's operations run. */
    public GatunStream stream() {
        return stream;
    }

    /** The root scope: tensors in it live until the device is closed. */
    public Scope scope() {
        return root;
    }

    /** Matrix multiplication on this device. */
    public Gemm gemm() {
        return gemm;
    }

    /** How often the allocator had to ask the system for memory. Constant once a step's shapes have been seen. */
    public long allocatorRequests() {
        return allocator.requests();
    }

    /** Bytes that open scopes own now. */
    public long liveBytes() {
        return allocator.liveBytes();
    }

    /** The largest value {@link #liveBytes} has had. */
    public long peakBytes() {
        return allocator.peakBytes();
    }

    /** Bytes obtained from the system and not given back: live plus cached. */
    public long heldBytes() {
        return allocator.heldBytes();
    }

    /** Gives cached memory back to the system, for instance between a training run and an evaluation of other shapes. */
    public void trim() {
        allocator.trim();
    }

    /** Frees everything; tensors of this device can no longer be used. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            root.close();
            allocator.close();
            stream.close();
            context.close();
        }
    }

    Allocator allocator() {
        return allocator;
    }
}
