// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.gatun.primitives.Layout;
import dev.gatun.primitives.NativeLibrary;
import dev.gatun.primitives.Operand;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;

/** The library called as one would by hand with everything prepared: what a call costs at least. Nothing is checked. */
final class BareCall implements AutoCloseable {
    private static final int ERROR_BYTES = 512;
    private static final int LAYOUT_BYTES = 8 + 16 * Layout.MAX_RANK;
    private static final int THREADS_OFFSET = 4;

    final Arena arena = Arena.ofConfined();
    final MemorySegment error = arena.allocate(ERROR_BYTES, 8);
    final MemorySegment stream;
    private final SymbolLookup symbols = SymbolLookup.libraryLookup(NativeLibrary.cpu().file(), Arena.global());
    private final MemorySegment context;

    /** A context and a stream of its own. */
    BareCall(int threads) {
        MemorySegment desc = arena.allocate(24, 8);
        desc.set(JAVA_INT, 0, (int) desc.byteSize());
        desc.set(JAVA_INT, THREADS_OFFSET, threads);
        context = create("gatun_context_create", desc);
        stream = create("gatun_stream_create", context);
    }

    private MemorySegment create(String function, MemorySegment from) {
        MemorySegment result = arena.allocate(ADDRESS);
        int status;
        try {
            status = (int) Linker.nativeLinker()
                    .downcallHandle(symbol(function), FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS))
                    .invokeExact(from, result, error);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
        require(status);
        return result.get(ADDRESS, 0);
    }

    MemorySegment symbol(String function) {
        return symbols.findOrThrow(function);
    }

    void require(int status) {
        if (status != 0) {
            throw new IllegalStateException(error.getString(64));
        }
    }

    /** Types of {@code gatun_X(stream, desc, p1 ... pn, error)}. */
    static MethodHandle operation(int pointers) {
        MemoryLayout[] arguments = new MemoryLayout[pointers + 3];
        Arrays.fill(arguments, ADDRESS);
        return Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(JAVA_INT, arguments));
    }

    /** Types of {@code gatun_X(stream, desc, p1 ... pn, workspace, bytes, error)}. */
    static MethodHandle withWorkspace(int pointers) {
        MemoryLayout[] arguments = new MemoryLayout[pointers + 5];
        Arrays.fill(arguments, ADDRESS);
        arguments[pointers + 3] = JAVA_LONG;
        return Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(JAVA_INT, arguments));
    }

    /** A descriptor: its size, an f32, perhaps two 32-bit fields, then layouts. */
    MemorySegment descriptor(float constant, int[] more, Operand... operands) {
        long first = (8 + 4L * more.length + 7) / 8 * 8;
        MemorySegment desc = arena.allocate(first + (long) LAYOUT_BYTES * operands.length, 8);
        desc.set(JAVA_INT, 0, (int) desc.byteSize());
        desc.set(JAVA_FLOAT, 4, constant);
        for (int i = 0; i < more.length; i++) {
            desc.set(JAVA_INT, 8 + 4L * i, more[i]);
        }
        for (int i = 0; i < operands.length; i++) {
            if (!operands[i].present()) {
                continue;
            }
            Layout layout = operands[i].layout();
            MemorySegment at = desc.asSlice(first + (long) i * LAYOUT_BYTES, LAYOUT_BYTES);
            at.set(JAVA_INT, 0, layout.dtype().code());
            at.set(JAVA_INT, 4, layout.rank());
            for (int d = 0; d < layout.rank(); d++) {
                at.set(JAVA_LONG, 8 + 8L * d, layout.size(d));
                at.set(JAVA_LONG, 8 + 8L * (Layout.MAX_RANK + d), layout.stride(d));
            }
        }
        return desc;
    }

    @Override
    public void close() {
        arena.close();
    }
}
