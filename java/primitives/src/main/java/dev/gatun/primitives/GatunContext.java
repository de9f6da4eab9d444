// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A device with its resources. Close it after its streams; memory from {@link NativeMemory} is freed separately. */
public final class GatunContext implements AutoCloseable {
    private static final Downcall CREATE = Downcall.pointers("gatun_context_create", 3);
    private static final Downcall DESTROY = Downcall.pointers("gatun_context_destroy", 2);
    private static final Downcall SYNCHRONIZE = Downcall.pointers("gatun_context_synchronize", 2);
    private static final Struct DESC = Struct.descriptor("gatun_context_desc");
    private static final long THREADS = DESC.i32("threads");
    private static final long DEVICE = DESC.i32("device");

    static {
        DESC.u32("reserved");
    }

    private static final int MAX_THREADS = 1024;

    private final NativeLibrary library;
    private final int threads;
    private MemorySegment handle;

    private GatunContext(NativeLibrary library, MemorySegment handle, int threads) {
        this.library = library;
        this.handle = handle;
        this.threads = threads;
    }

    /**
     * The CPU.
     *
     * @param threads number of threads, 1 to 1024; 0 means all that the process may use
     */
    public static GatunContext cpu(int threads) {
        // Asked of the JVM, which knows a container's share of the processors; OpenMP would count all that it sees.
        int count = threads == 0 ? Math.min(Runtime.getRuntime().availableProcessors(), MAX_THREADS) : threads;
        return create(NativeLibrary.cpu(), count, 0);
    }

    /**
     * A CUDA device.
     *
     * @param ordinal which one, from 0
     * @throws GatunException NO_DEVICE where there is no library for CUDA, no driver or no device; the message says which
     */
    public static GatunContext cuda(int ordinal) {
        return create(NativeLibrary.of(DeviceKind.CUDA), 0, ordinal);
    }

    /** The CUDA kernels on the emulated device: for tests. Its memory cannot be touched by the host but by {@link NativeMemory#copy}. */
    public static GatunContext emulated() {
        return create(NativeLibrary.of(DeviceKind.EMULATED), 0, 0);
    }

    private static GatunContext create(NativeLibrary library, int threads, int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment desc = arena.allocate(DESC.size(), 8);
            desc.set(ValueLayout.JAVA_INT, 0, (int) DESC.size());
            desc.set(ValueLayout.JAVA_INT, THREADS, threads);
            desc.set(ValueLayout.JAVA_INT, DEVICE, device);
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment error = Call.newError(arena);
            Call.check(CREATE.invoke(library.address(CREATE), desc, result, error), error);
            return new GatunContext(library, result.get(ValueLayout.ADDRESS, 0), threads);
        }
    }

    /** Waits until everything submitted to any stream of this device is done. */
    public void synchronize() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(SYNCHRONIZE.invoke(library.address(SYNCHRONIZE), handle(), error), error);
        }
    }

    /** A new stream of this device. */
    public GatunStream stream() {
        return GatunStream.create(this);
    }

    /** Number of threads an operation uses; 0 on a CUDA device. */
    public int threads() {
        return threads;
    }

    /** The library whose device this is. */
    public NativeLibrary library() {
        return library;
    }

    MemorySegment handle() {
        if (handle.equals(MemorySegment.NULL)) {
            throw GatunException.invalid("context", "the context is closed");
        }
        return handle;
    }

    @Override
    public void close() {
        if (!handle.equals(MemorySegment.NULL)) {
            DESTROY.invoke(library.address(DESTROY), handle, MemorySegment.NULL);
            handle = MemorySegment.NULL;
        }
    }
}
