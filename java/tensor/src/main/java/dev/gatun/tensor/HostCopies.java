// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;

/** What goes between a tensor's memory, wherever it is, and the host's; and between two devices. */
final class HostCopies {
    private HostCopies() {}

    /** Copies a contiguous tensor to host memory of as many bytes. */
    static void read(Tensor from, MemorySegment host) {
        from.requireContiguous();
        requireBytes("copyTo", from, host.byteSize());
        from.device().download(from.memory(), host);
    }

    /** As {@link #read} in row-major order, whatever the strides. */
    static void readInOrder(Tensor from, MemorySegment host) {
        if (from.isContiguous()) {
            read(from, host);
            return;
        }
        try (Scope work = from.scope().open()) {
            read(from.copy(work), host);
        }
    }

    /** A contiguous tensor's own memory where the host reaches it, else a copy in the arena. */
    static MemorySegment readable(Tensor from, Arena arena) {
        from.requireContiguous();
        if (from.device().sharesHostMemory()) {
            from.device().stream().synchronize();
            return from.memory();
        }
        MemorySegment copy = arena.allocate(bytes(from), Long.BYTES);
        read(from, copy);
        return copy;
    }

    static void overwrite(Tensor to, MemorySegment host) {
        to.requireContiguous();
        requireBytes("copyFrom", to, host.byteSize());
        to.device().upload(host, to.memory());
        to.written();
    }

    static void overwrite(Tensor to, DType type, int count, MemorySegment values) {
        to.require(type);
        if (count != to.elements()) {
            throw new TensorException("copyFrom: " + count + " values do not fill " + to.describe());
        }
        overwrite(to, values);
    }

    /** Lets {@code writer} fill a contiguous tensor's own memory where the host reaches it, else pinned memory that is uploaded then. */
    static void write(Tensor to, Consumer<MemorySegment> writer) {
        to.requireContiguous();
        if (to.device().sharesHostMemory()) {
            writer.accept(to.memory());
            to.written();
            return;
        }
        to.device().upload(to.memory(), writer);
        to.written();
    }

    /** A copy on another device; straight where one of the two is the host, else by way of it. */
    static Tensor across(Tensor from, Scope target) {
        Tensor copy = target.empty(from.dtype(), from.shapeArray());
        if (copy.device().sharesHostMemory()) {
            readInOrder(from, copy.memory());
            return copy;
        }
        try (Scope work = from.scope().open();
                Arena arena = Arena.ofConfined()) {
            overwrite(copy, readable(from.isContiguous() ? from : from.copy(work), arena));
        }
        return copy;
    }

    private static long bytes(Tensor t) {
        return t.elements() * t.dtype().bytes();
    }

    private static void requireBytes(String operation, Tensor t, long bytes) {
        if (bytes != bytes(t)) {
            throw new TensorException(operation + ": " + bytes + " bytes of host memory for " + t.describe());
        }
    }
}
