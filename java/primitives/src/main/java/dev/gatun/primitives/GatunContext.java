// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A device with its resources. Close it after its streams; memory from {@link NativeMemory} is freed separately. */
public final class GatunContext implements AutoCloseable {
    private static final Downcall CREATE = Downcall.pointers("gatun_context_create", 3);
    private static final Downcall DESTROY = Downcall.pointers("gatun_context_destroy", 2);
    private static final Struct DESC = Struct.descriptor("gatun_context_desc");
    private static final long THREADS = DESC.i32("threads");

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
        NativeLibrary library = NativeLibrary.cpu();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment desc = arena.allocate(DESC.size(), 8);
            desc.set(ValueLayout.JAVA_INT, 0, (int) DESC.size());
            // Asked of the JVM, which knows a container's share of the processors; OpenMP would count all that it sees.
            int count = threads == 0 ? Math.min(Runtime.getRuntime().availableProcessors(), MAX_THREADS) : threads;
            desc.set(ValueLayout.JAVA_INT, THREADS, count);
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment error = Call.newError(arena);
            Call.check(CREATE.invoke(library.address(CREATE), desc, result, error), error);
            return new GatunContext(library, result.get(ValueLayout.ADDRESS, 0), count);
        }
    }

    /** A new stream of this device. */
    public GatunStream stream() {
        return GatunStream.create(this);
    }

    /** Number of threads an operation uses. */
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
