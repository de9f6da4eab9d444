// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Device memory by hand: aligned to 64 bytes, not zeroed, huge pages where large. For owners of pools; on the CPU others use an {@link Arena},
 * whose segments are operands just as well. What a context of a CUDA device allocated is operand of its own streams only.
 */
public final class NativeMemory {
    private static final Downcall ALLOCATE = Downcall.of("gatun_memory_allocate", "i32(ptr,u64,ptr,ptr)");
    private static final Downcall FREE = Downcall.pointers("gatun_memory_free", 3);
    private static final Downcall ALLOCATE_HOST = Downcall.of("gatun_memory_allocate_host", "i32(ptr,u64,ptr,ptr)");
    private static final Downcall FREE_HOST = Downcall.pointers("gatun_memory_free_host", 3);
    private static final Downcall GET_USAGE = Downcall.pointers("gatun_memory_get_usage", 3);
    private static final Downcall COPY = Downcall.of("gatun_memory_copy", "i32(ptr,ptr,ptr,u64,ptr)");
    private static final Downcall CLEAR = Downcall.of("gatun_memory_clear", "i32(ptr,ptr,u64,ptr)");

    private static final Struct USAGE = Struct.descriptor("gatun_memory_usage");

    static {
        USAGE.u32("reserved");
    }

    private static final long ALLOCATED = USAGE.u64("allocated");
    private static final long HOST_ALLOCATED = USAGE.u64("host_allocated");
    private static final long LIMIT = USAGE.u64("limit");
    private static final long DEVICE_FREE = USAGE.u64("device_free");
    private static final long DEVICE_TOTAL = USAGE.u64("device_total");

    private static final long ALIGNMENT = 64;

    private NativeMemory() {}

    /**
     * Allocates memory that lives until {@link #free}. Its content is undefined.
     *
     * @throws GatunException OUT_OF_MEMORY, with the bytes asked, allocated and left, when the device or the context's limit has no room
     */
    public static MemorySegment allocate(GatunContext context, long bytes) {
        return allocate(ALLOCATE, "memory_allocate", context, bytes, false);
    }

    /**
     * Allocates host memory from and to which copies go without a detour, so that they overlap what else the host and the device do. It lives
     * until {@link #freeHost}; the host reads and writes it as any native memory. It is dear to make: for buffers that are used again.
     *
     * @throws GatunException OUT_OF_MEMORY when there is none
     */
    public static MemorySegment allocateHost(GatunContext context, long bytes) {
        return allocate(ALLOCATE_HOST, "memory_allocate_host", context, bytes, true);
    }

    private static MemorySegment allocate(Downcall downcall, String operation, GatunContext context, long bytes, boolean pinned) {
        if (bytes < 0) {
            throw GatunException.invalid(operation, "bytes is " + bytes);
        }
        Tracing tracing = Tracing.of(context);
        if (tracing != null) {
            tracing.begin();
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment error = Call.newError(arena);
            MemorySegment function = context.library().address(downcall);
            Call.check(Downcall.status(() -> (int) downcall.handle().invokeExact(function, context.handle(), bytes, result, error)), error);
            MemorySegment memory = result.get(ValueLayout.ADDRESS, 0).reinterpret(bytes);
            DeviceRanges.add(context, memory, pinned);
            if (tracing != null) {
                tracing.end(operation, bytes);
            }
            return memory;
        }
    }

    /**
     * Frees memory of {@link #allocate}; the segment must not be used afterwards, which nothing can check.
     *
     * @throws GatunException INVALID_ARGUMENT if the context did not allocate it, or it was freed already
     */
    public static void free(GatunContext context, MemorySegment segment) {
        free(FREE, "memory_free", context, segment);
    }

    /**
     * Frees memory of {@link #allocateHost}, which no copy may be using.
     *
     * @throws GatunException INVALID_ARGUMENT if the context did not allocate it, or it was freed already
     */
    public static void freeHost(GatunContext context, MemorySegment segment) {
        free(FREE_HOST, "memory_free_host", context, segment);
    }

    private static void free(Downcall downcall, String operation, GatunContext context, MemorySegment segment) {
        if (!segment.isNative() || !segment.scope().equals(Arena.global().scope()) || segment.address() % ALIGNMENT != 0) {
            throw GatunException.invalid(operation, "the segment is not one that NativeMemory allocated: " + segment);
        }
        Tracing tracing = Tracing.of(context);
        if (tracing != null) {
            tracing.begin();
        }
        DeviceRanges.remove(segment, () -> {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment error = Call.newError(arena);
                Call.check(downcall.invoke(context.library().address(downcall), context.handle(), segment, error), error);
            }
        });
        if (tracing != null) {
            tracing.end(operation, segment.byteSize());
        }
    }

    /** How much memory is in use. */
    public static MemoryUsage usage(GatunContext context) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment usage = arena.allocate(USAGE.size(), 8);
            usage.set(ValueLayout.JAVA_INT, 0, (int) USAGE.size());
            MemorySegment error = Call.newError(arena);
            Call.check(GET_USAGE.invoke(context.library().address(GET_USAGE), context.handle(), usage, error), error);
            return new MemoryUsage(
                    usage.get(ValueLayout.JAVA_LONG, ALLOCATED),
                    usage.get(ValueLayout.JAVA_LONG, HOST_ALLOCATED),
                    usage.get(ValueLayout.JAVA_LONG, LIMIT),
                    usage.get(ValueLayout.JAVA_LONG, DEVICE_FREE),
                    usage.get(ValueLayout.JAVA_LONG, DEVICE_TOTAL));
        }
    }

    /**
     * Copies on the stream, between device memory and host memory in any direction. A host segment must live, and not be written, until the
     * stream has come so far.
     *
     * @throws GatunException INVALID_ARGUMENT if the sizes differ, a segment is on the Java heap or of another device, or the destination is
     *     read-only
     */
    public static void copy(GatunStream stream, MemorySegment destination, MemorySegment source) {
        if (destination.byteSize() != source.byteSize()) {
            throw GatunException.invalid(
                    "memory_copy", "destination has " + destination.byteSize() + " bytes, source has " + source.byteSize());
        }
        if (!destination.isNative() || !source.isNative() || destination.isReadOnly()) {
            throw GatunException.invalid("memory_copy", "destination and source must be native memory, destination not read-only");
        }
        DeviceRanges.requireCopyable(stream, "memory_copy", "destination", destination);
        DeviceRanges.requireCopyable(stream, "memory_copy", "source", source);
        Tracing tracing = Tracing.of(stream);
        if (tracing != null) {
            tracing.begin();
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            MemorySegment function = stream.library().address(COPY);
            Call.check(
                    Downcall.status(() ->
                            (int) COPY.handle().invokeExact(function, stream.handle(), destination, source, source.byteSize(), error)),
                    error);
            if (tracing != null) {
                tracing.end("memory_copy", source.byteSize());
            }
        }
    }

    /** Sets every byte of a device's memory to 0, on the stream. */
    public static void clear(GatunStream stream, MemorySegment segment) {
        if (!segment.isNative() || segment.isReadOnly()) {
            throw GatunException.invalid("memory_clear", "the segment must be native memory and not read-only");
        }
        DeviceRanges.requireReachable(stream, "memory_clear", "the segment", segment);
        Tracing tracing = Tracing.of(stream);
        if (tracing != null) {
            tracing.begin();
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            MemorySegment function = stream.library().address(CLEAR);
            Call.check(
                    Downcall.status(() -> (int) CLEAR.handle().invokeExact(function, stream.handle(), segment, segment.byteSize(), error)),
                    error);
            if (tracing != null) {
                tracing.end("memory_clear", segment.byteSize());
            }
        }
    }
}
