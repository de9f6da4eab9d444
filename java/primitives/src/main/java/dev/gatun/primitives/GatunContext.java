// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/** A device with its resources. Close it after its streams; memory from {@link NativeMemory} is freed separately. */
public final class GatunContext implements AutoCloseable {
    private static final Downcall CREATE = Downcall.pointers("gatun_context_create", 3);
    private static final Downcall DESTROY = Downcall.pointers("gatun_context_destroy", 2);
    private static final Downcall SYNCHRONIZE = Downcall.pointers("gatun_context_synchronize", 2);
    private static final Downcall RELEASE_THREADS = Downcall.pointers("gatun_context_release_threads", 2);
    private static final Struct DESC = Struct.descriptor("gatun_context_desc");
    private static final long THREADS = DESC.i32("threads");
    private static final long DEVICE = DESC.i32("device");

    private static final long FLAGS = DESC.u32("flags");
    private static final long MEMORY_LIMIT = DESC.u64("memory_limit");

    private static final int MAX_THREADS = 1024;

    /**
     * Streams of the emulated device that do nothing before somebody waits for them, which is as late as CUDA may be. A program that forgets an
     * event, or overwrites memory too early, computes something else on every run where one of two streams is late and the other is not.
     */
    public enum Late {
        /** A stream does its work inside the call. */
        NONE,
        /** The stream that is created first, on which a device computes. */
        FIRST,
        /** All but the first. */
        OTHERS,
        /** Every stream. */
        ALL
    }

    private final NativeLibrary library;
    private final DeviceKind kind;
    private final int ordinal;
    private final int threads;
    private MemorySegment handle;
    private volatile @Nullable CallListener listener;

    private GatunContext(DeviceKind kind, int ordinal, int threads, NativeLibrary library, MemorySegment handle) {
        this.kind = kind;
        this.ordinal = ordinal;
        this.threads = threads;
        this.library = library;
        this.handle = handle;
    }

    /**
     * The CPU.
     *
     * @param threads number of threads, 1 to 1024; 0 means all that the process may use
     */
    public static GatunContext cpu(int threads) {
        return cpu(threads, 0);
    }

    /**
     * As {@link #cpu(int)} with a limit.
     *
     * @param memoryLimit bytes of {@link NativeMemory#allocate} that may be allocated at once; 0 means as many as there are
     */
    public static GatunContext cpu(int threads, long memoryLimit) {
        // Asked of the JVM, which knows a container's share of the processors; OpenMP would count all that it sees.
        int count = threads == 0 ? Math.min(Runtime.getRuntime().availableProcessors(), MAX_THREADS) : threads;
        return create(DeviceKind.CPU, 0, count, 0, memoryLimit);
    }

    /**
     * A CUDA device.
     *
     * @param ordinal which one, from 0
     * @throws GatunException NO_DEVICE where there is no library for CUDA, no driver or no device; the message says which
     */
    public static GatunContext cuda(int ordinal) {
        return cuda(ordinal, 0);
    }

    /** As {@link #cuda(int)} with a limit, as {@link #cpu(int, long)} has one. */
    public static GatunContext cuda(int ordinal, long memoryLimit) {
        return create(DeviceKind.CUDA, ordinal, 0, 0, memoryLimit);
    }

    /** The CUDA kernels on the emulated device: for tests. Its memory cannot be touched by the host but by {@link NativeMemory#copy}. */
    public static GatunContext emulated() {
        return emulated(0, Late.NONE);
    }

    /**
     * As {@link #emulated()} with a limit, as {@link #cpu(int, long)} has one.
     *
     * @param late which of its streams are late: nothing that works must depend on it
     */
    public static GatunContext emulated(long memoryLimit, Late late) {
        return create(DeviceKind.EMULATED, 0, 0, late.ordinal(), memoryLimit);
    }

    private static GatunContext create(DeviceKind kind, int ordinal, int threads, int flags, long memoryLimit) {
        if (memoryLimit < 0) {
            throw GatunException.invalid("context_create", "the limit of memory is " + memoryLimit + " bytes");
        }
        NativeLibrary library = NativeLibrary.of(kind);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment desc = arena.allocate(DESC.size(), 8);
            desc.set(ValueLayout.JAVA_INT, 0, (int) DESC.size());
            desc.set(ValueLayout.JAVA_INT, THREADS, threads);
            desc.set(ValueLayout.JAVA_INT, DEVICE, ordinal);
            desc.set(ValueLayout.JAVA_INT, FLAGS, flags);
            desc.set(ValueLayout.JAVA_LONG, MEMORY_LIMIT, memoryLimit);
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment error = Call.newError(arena);
            Call.check(CREATE.invoke(library.address(CREATE), desc, result, error), error);
            return new GatunContext(kind, ordinal, threads, library, result.get(ValueLayout.ADDRESS, 0));
        }
    }

    /** Waits until everything submitted to any stream of this device is done. */
    public void synchronize() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(SYNCHRONIZE.invoke(library.address(SYNCHRONIZE), handle(), error), error);
        }
    }

    /**
     * Ends the workers that wait for the calling thread's next operation; that operation starts them again (some 50 us). Unless OpenMP waits passively
     * they wait actively for milliseconds, which takes the core from a thread that is to compute beside this one.
     */
    public void releaseThreads() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(RELEASE_THREADS.invoke(library.address(RELEASE_THREADS), handle(), error), error);
        }
    }

    /** A new stream of this device. */
    public GatunStream stream() {
        return GatunStream.create(this);
    }

    /**
     * From now on every call on this context's streams is told, whichever thread makes it. On a CUDA device, real or emulated, each is then waited
     * for, so that its time is its own: what a stream did beside the host and beside other streams, it does no more. Calls that are recorded into a
     * graph, and its launches, are not told.
     */
    public void listen(CallListener newListener) {
        listener = newListener;
    }

    /** Calls are told to nobody any more. */
    public void stopListening() {
        listener = null;
    }

    @Nullable CallListener listener() {
        return listener;
    }

    /** What kind of device it is. */
    public DeviceKind kind() {
        return kind;
    }

    /** Which of its kind, from 0. */
    public int ordinal() {
        return ordinal;
    }

    /** The device in words: {@code cpu}, {@code cuda:0}, {@code emulated}. */
    public String name() {
        return kind == DeviceKind.CUDA ? kind + ":" + ordinal : kind.toString();
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
        if (handle == MemorySegment.NULL) {
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
