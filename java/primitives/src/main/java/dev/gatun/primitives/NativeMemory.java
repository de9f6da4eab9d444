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
    private static final Downcall ALLOCATE = new Downcall(
            "gatun_memory_allocate",
            "i32(ptr,u64,ptr,ptr)",
            java.lang.foreign.Linker.nativeLinker()
                    .downcallHandle(java.lang.foreign.FunctionDescriptor.of(
                            ValueLayout.JAVA_INT,
                            ValueLayout.ADDRESS,
                            ValueLayout.JAVA_LONG,
                            ValueLayout.ADDRESS,
                            ValueLayout.ADDRESS)));
    private static final Downcall FREE = Downcall.pointers("gatun_memory_free", 3);

    static {
        Downcall.register(ALLOCATE);
    }

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
            Call.check((int) ALLOCATE.handle().invokeExact(function, context.handle(), bytes, result, error), error);
            return result.get(ValueLayout.ADDRESS, 0).reinterpret(bytes);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
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
}
