// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * One call of an operation: holds the descriptor while it is filled, checks each operand on the Java side and turns a status into an
 * exception. Used as
 *
 * <pre>{@code
 * try (Call call = new Call(stream, FORWARD, DESC)) {
 *     call.set(EPSILON, epsilon);
 *     call.run(call.input(X, "x", x), call.output(Y, "y", y));
 * }
 * }</pre>
 */
final class Call implements AutoCloseable {
    private static final int ERROR_BYTES = 512;
    private static final int ERROR_OPERATION = 8;
    private static final int ERROR_MESSAGE = 64;

    private final Arena arena = Arena.ofConfined();
    private final NativeLibrary library;
    private final GatunStream owner;
    private final MemorySegment stream;
    private final Downcall downcall;
    private final MemorySegment descriptor;
    private final MemorySegment error;
    private final Struct struct;
    /** Null unless somebody listens. */
    private final @Nullable Tracing tracing;

    Call(GatunStream stream, Downcall downcall, Struct struct) {
        this.library = stream.library();
        this.owner = stream;
        this.stream = stream.handle();
        this.downcall = downcall;
        this.descriptor = arena.allocate(struct.size(), 8);
        this.error = arena.allocate(ERROR_BYTES, 8);
        this.struct = struct;
        this.tracing = Tracing.of(stream);
        descriptor.set(ValueLayout.JAVA_INT, 0, (int) struct.size());
    }

    /** The operation's name as errors show it. */
    String operation() {
        return downcall.name().substring("gatun_".length());
    }

    void set(long offset, int value) {
        descriptor.set(ValueLayout.JAVA_INT, offset, value);
        if (tracing != null) {
            tracing.constant(struct.field(offset), value);
        }
    }

    void set(long offset, long value) {
        descriptor.set(ValueLayout.JAVA_LONG, offset, value);
        if (tracing != null) {
            tracing.constant(struct.field(offset), value);
        }
    }

    void set(long offset, float value) {
        descriptor.set(ValueLayout.JAVA_FLOAT, offset, value);
        if (tracing != null) {
            tracing.constant(struct.field(offset), value);
        }
    }

    void set(long offset, double value) {
        descriptor.set(ValueLayout.JAVA_DOUBLE, offset, value);
        if (tracing != null) {
            tracing.constant(struct.field(offset), value);
        }
    }

    /** Says to whoever listens which of several things the operation does: a constant of an enum, or a word. */
    void detail(Object which) {
        if (tracing != null) {
            tracing.detail(which.toString().toLowerCase(Locale.ROOT));
        }
    }

    /** Puts the layout of an operand that is read into the descriptor and returns its checked memory. */
    MemorySegment input(long offset, String name, Operand operand) {
        return operand(offset, name, operand, false);
    }

    /** As {@link #input} for an operand that is written. */
    MemorySegment output(long offset, String name, Operand operand) {
        return operand(offset, name, operand, true);
    }

    private MemorySegment operand(long offset, String name, Operand operand, boolean written) {
        if (!operand.present()) {
            return MemorySegment.NULL;
        }
        Struct.putLayout(descriptor, offset, operand.layout());
        if (tracing != null) {
            tracing.argument(name, operand.layout(), written);
        }
        return memory(name, operand.segment(), spanBytes(name, operand.layout()), written, operand.layout());
    }

    private long spanBytes(String name, Layout layout) {
        try {
            return layout.spanBytes();
        } catch (ArithmeticException e) {
            throw GatunException.invalid(operation(), name + " is too large: " + layout);
        }
    }

    /** Puts only the layout of an operand into the descriptor: for workspace queries, which look at no data. */
    void layout(long offset, Operand operand) {
        if (operand.present()) {
            Struct.putLayout(descriptor, offset, operand.layout());
        }
    }

    /** Memory without a layout in the descriptor: a value that changes from step to step, such as a learning rate or a random key. */
    MemorySegment pointer(String name, MemorySegment segment, long bytes, boolean written) {
        return memory(name, segment, bytes, written, bytes + " bytes");
    }

    private MemorySegment memory(String name, MemorySegment segment, long bytes, boolean written, Object needs) {
        if (segment.equals(MemorySegment.NULL)) {
            if (bytes == 0) {
                return segment;
            }
            throw GatunException.invalid(operation(), name + " is NULL");
        }
        if (!segment.isNative()) {
            throw GatunException.invalid(operation(), name + " is on the Java heap; kernels need native memory");
        }
        if (segment.byteSize() < bytes) {
            throw GatunException.invalid(operation(), name + " has " + segment.byteSize() + " bytes, " + needs + " needs " + bytes);
        }
        if (written && segment.isReadOnly()) {
            throw GatunException.invalid(operation(), name + " is written, but its memory is read-only");
        }
        if (!segment.scope().isAlive()) {
            throw GatunException.invalid(operation(), name + " was freed already");
        }
        if (!segment.isAccessibleBy(Thread.currentThread())) {
            throw GatunException.invalid(operation(), name + " belongs to the confined arena of another thread");
        }
        DeviceRanges.requireReachable(owner, operation(), name, segment);
        return segment;
    }

    /** Runs the operation with its data pointers. */
    void run(MemorySegment... data) {
        MemorySegment[] pointers = new MemorySegment[data.length + 3];
        pointers[0] = stream;
        pointers[1] = descriptor;
        System.arraycopy(data, 0, pointers, 2, data.length);
        pointers[data.length + 2] = error;
        begin();
        check(downcall.invoke(library.address(downcall), pointers));
        end(0);
    }

    /** Runs an operation that takes a workspace after its data pointers. */
    void runWithWorkspace(MemorySegment workspace, MemorySegment... data) {
        MemorySegment[] pointers = new MemorySegment[data.length + 3];
        pointers[0] = stream;
        pointers[1] = descriptor;
        System.arraycopy(data, 0, pointers, 2, data.length);
        pointers[data.length + 2] = memory("workspace", workspace, 0, true, "");
        begin();
        check(downcall.invoke(library.address(downcall), pointers, workspace.byteSize(), error));
        end(workspace.byteSize());
    }

    /** Asks for the bytes of workspace that the descriptor needs; the downcall must be a workspace query. */
    long queryWorkspace() {
        MemorySegment bytes = arena.allocate(8, 8);
        begin();
        check(downcall.invoke(library.address(downcall), descriptor, bytes, error));
        end(0);
        return bytes.get(ValueLayout.JAVA_LONG, 0);
    }

    /** As {@link #queryWorkspace} where the workspace depends on the stream's number of threads too. */
    long queryStreamWorkspace() {
        MemorySegment bytes = arena.allocate(8, 8);
        begin();
        check(downcall.invoke(library.address(downcall), stream, descriptor, bytes, error));
        end(0);
        return bytes.get(ValueLayout.JAVA_LONG, 0);
    }

    private void begin() {
        if (tracing != null) {
            tracing.begin();
        }
    }

    private void end(long workspaceBytes) {
        if (tracing != null) {
            tracing.end(operation(), workspaceBytes);
        }
    }

    private void check(int status) {
        check(status, error);
    }

    static void check(int status, MemorySegment error) {
        if (status != 0) {
            throw new GatunException(
                    GatunException.Status.of(status), error.getString(ERROR_OPERATION), error.getString(ERROR_MESSAGE));
        }
    }

    static MemorySegment newError(Arena arena) {
        return arena.allocate(ERROR_BYTES, 8);
    }

    @Override
    public void close() {
        arena.close();
    }
}
