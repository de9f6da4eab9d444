// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Device memory by hand: aligned to 64 bytes, not zeroed, huge pages where large. For owners of pools; others use an {@link Arena}, whose
 * segments are operands just as well.
 */
public final class NativeMemory {
    private static final Downcall ALLOCATE = Downcall.of("gatun_memory_allocate", "i32(ptr,u64,ptr,ptr)");
    private static final Downcall FREE = Downcall.pointers("gatun_memory_free", 3);
    private static final Downcall COPY = Downcall.of("gatun_memory_copy", "i32(ptr,ptr,ptr,u64,ptr)");
    private static final Downcall CLEAR = Downcall.of("gatun_memory_clear", "i32(ptr,ptr,u64,ptr)");

    private static final long ALIGNMENT = 64;

    private NativeMemory() {}

    /**
     * Allocates memory that lives until {@link #free}. Its content is undefined.
     *
     * @throws GatunException with status OUT_OF_MEMORY when there is none
     */
    public static MemorySegment allocate(GatunContext context, long bytes) {
        if (bytes < 0) {
            throw GatunException.invalid("memory_allocate", "bytes is " + bytes);
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment error = Call.newError(arena);
            MemorySegment function = context.library().address(ALLOCATE);
            Call.check(Downcall.status(() -> (int) ALLOCATE.handle().invokeExact(function, context.handle(), bytes, result, error)), error);
            return result.get(ValueLayout.ADDRESS, 0).reinterpret(bytes);
        }
    }

    /**
     * Frees memory of {@link #allocate}; the segment must not be used or freed afterwards, which nothing can check. What cannot come from
     * there (heap or arena memory, a slice that does not start with the block) is refused, for the C library would end the process.
     */
    public static void free(GatunContext context, MemorySegment segment) {
        if (!segment.isNative() || !segment.scope().equals(Arena.global().scope()) || segment.address() % ALIGNMENT != 0) {
            throw GatunException.invalid("memory_free", "the segment is not one that NativeMemory allocated: " + segment);
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(FREE.invoke(context.library().address(FREE), context.handle(), segment, error), error);
        }
    }

    /**
     * Copies on the stream, between device memory and host memory in any direction. A host segment must live, and not be written, until the
     * stream has been synchronized.
     *
     * @throws GatunException INVALID_ARGUMENT if the sizes differ, a segment is on the Java heap or the destination is read-only
     */
    public static void copy(GatunStream stream, MemorySegment destination, MemorySegment source) {
        if (destination.byteSize() != source.byteSize()) {
            throw GatunException.invalid(
                    "memory_copy", "destination has " + destination.byteSize() + " bytes, source has " + source.byteSize());
        }
        if (!destination.isNative() || !source.isNative() || destination.isReadOnly()) {
            throw GatunException.invalid("memory_copy", "destination and source must be native memory, destination not read-only");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            MemorySegment function = stream.library().address(COPY);
            Call.check(
                    Downcall.status(() ->
                            (int) COPY.handle().invokeExact(function, stream.handle(), destination, source, source.byteSize(), error)),
                    error);
        }
    }

    /** Sets every byte of a device's memory to 0, on the stream. */
    public static void clear(GatunStream stream, MemorySegment segment) {
        if (!segment.isNative() || segment.isReadOnly()) {
            throw GatunException.invalid("memory_clear", "the segment must be native memory and not read-only");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            MemorySegment function = stream.library().address(CLEAR);
            Call.check(
                    Downcall.status(() -> (int) CLEAR.handle().invokeExact(function, stream.handle(), segment, segment.byteSize(), error)),
                    error);
        }
    }
}
