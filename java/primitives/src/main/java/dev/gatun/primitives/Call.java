// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Arrays;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * One call of an operation: holds the descriptor while it is filled, checks each operand on the Java side and turns a status into an
 * exception. The function gets the operands' memory in the order in which they are given. Used as
 *
 * <pre>{@code
 * try (Call call = Call.of(stream, FORWARD, DESC)) {
 *     call.set(EPSILON, epsilon);
 *     call.input(X, "x", x);
 *     call.output(Y, "y", y);
 *     call.run();
 * }
 * }</pre>
 *
 * <p>A stream has one, which its calls use in turn: a call makes no garbage.
 */
final class Call implements AutoCloseable {
    private static final int ERROR_BYTES = 512;
    private static final int ERROR_OPERATION = 8;
    private static final int ERROR_MESSAGE = 64;
    private static final int ANSWER_BYTES = 8;
    private static final VarHandle BUSY;

    static {
        try {
            BUSY = MethodHandles.lookup().findVarHandle(Call.class, "busy", boolean.class);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    private final GatunStream owner;
    private final NativeLibrary library;
    private final Arena arena;
    private final MemorySegment error;
    private final MemorySegment answer;
    /** By {@link Downcall#index}. */
    private @Nullable Prepared[] prepared = {};

    @SuppressWarnings("unused")  // through BUSY
    private boolean busy;

    private Downcall downcall;
    private Struct struct;
    private Prepared now;
    private MemorySegment descriptor;
    private MemorySegment[] pointers;
    private int count;
    /** Null unless somebody listens. */
    private @Nullable Tracing tracing;

    /** A call of its own: of a stream that two threads use, or of an operation inside another one's call. */
    Call(GatunStream stream, Downcall downcall, Struct struct) {
        // freed once nobody can call any more: a stream may be closed while another thread's call is under way
        arena = Arena.ofAuto();
        owner = stream;
        library = stream.library();
        error = arena.allocate(ERROR_BYTES, Long.BYTES);
        answer = arena.allocate(ANSWER_BYTES, Long.BYTES);
        this.downcall = downcall;
        this.struct = struct;
        now = prepare(downcall, struct);
        descriptor = now.descriptor;
        pointers = now.pointers;
        BUSY.setVolatile(this, true);
        begin(downcall, struct);
    }

    /** The stream's call for its next operation. */
    static Call of(GatunStream stream, Downcall downcall, Struct struct) {
        Call call = stream.call;
        if (call != null && BUSY.compareAndSet(call, false, true)) {
            try {
                call.begin(downcall, struct);
                return call;
            } catch (RuntimeException e) {
                call.close();
                throw e;
            }
        }
        Call made = new Call(stream, downcall, struct);
        stream.call = made;
        return made;
    }

    /**
     * What the calls of a function leave for the next one: a descriptor, in which all of them set the same fields, the layouts that are in
     * it, by a 64th of a field's offset in bits, and the pointers that are the same in each call. Those of operands lie from first to end.
     */
    private static final class Prepared {
        final MemorySegment descriptor;
        final @Nullable Layout[] layouts;
        final MemorySegment[] pointers;
        final int first;
        final int end;

        Prepared(Call call, Downcall downcall, Struct struct) {
            descriptor = call.arena.allocate(struct.size(), Long.BYTES);
            descriptor.set(ValueLayout.JAVA_INT, 0, (int) struct.size());
            layouts = new Layout[(int) (struct.size() / Long.BYTES)];
            MemorySegment stream = call.owner.handle();
            MemorySegment[] before = downcall.form() == Downcall.Form.QUERY ? new MemorySegment[] {descriptor} : new MemorySegment[] {stream, descriptor};
            MemorySegment[] after = switch (downcall.form()) {
                case OPERATION -> new MemorySegment[] {call.error};
                case WITH_WORKSPACE -> new MemorySegment[0];  // behind its bytes
                case QUERY, STREAM_QUERY -> new MemorySegment[] {call.answer, call.error};
                case POINTERS -> throw new AssertionError(downcall.name() + " is no operation");
            };
            pointers = Arrays.copyOf(before, downcall.pointers());
            first = before.length;
            end = pointers.length - after.length;
            System.arraycopy(after, 0, pointers, end, after.length);
        }
    }

    private Prepared prepare(Downcall function, Struct fields) {
        if (prepared.length <= function.index()) {
            prepared = Arrays.copyOf(prepared, function.index() + 1);
        }
        Prepared made = new Prepared(this, function, fields);
        prepared[function.index()] = made;
        return made;
    }

    private void begin(Downcall newDowncall, Struct newStruct) {
        downcall = newDowncall;
        struct = newStruct;
        int index = newDowncall.index();
        Prepared known = index < prepared.length ? prepared[index] : null;
        now = known != null ? known : prepare(newDowncall, newStruct);
        descriptor = now.descriptor;
        pointers = now.pointers;
        count = now.first;
        tracing = Tracing.of(owner);
        owner.handle();  // refuses where the stream was closed, whose handle is among the pointers
    }

    /** The operation's name as errors show it. */
    String operation() {
        return downcall.operation();
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

    /** The next operand is read: puts its layout into the descriptor and checks its memory. */
    void input(long offset, String name, Operand operand) {
        operand(offset, name, operand, false);
    }

    /** As {@link #input} for an operand that is written. */
    void output(long offset, String name, Operand operand) {
        operand(offset, name, operand, true);
    }

    private void operand(long offset, String name, Operand operand, boolean written) {
        if (!operand.present()) {
            put(offset, null);
            add(MemorySegment.NULL);
            return;
        }
        Layout layout = operand.layout();
        put(offset, layout);
        if (tracing != null) {
            tracing.argument(name, layout, written);
        }
        long bytes = layout.span();
        if (bytes < 0) {
            throw GatunException.invalid(operation(), name + " is too large: " + layout);
        }
        add(checked(name, operand.segment(), bytes, written, layout));
    }

    private void put(long offset, @Nullable Layout layout) {
        int place = (int) (offset / Long.BYTES);
        if (now.layouts[place] != layout) {
            Struct.putLayout(descriptor, offset, layout);
            now.layouts[place] = layout;
        }
    }

    /** The next operand, which has no layout in the descriptor, is absent. */
    void absent() {
        add(MemorySegment.NULL);
    }

    /** The next pointer is a function or another address that is no operand. */
    void address(MemorySegment address) {
        add(address);
    }

    /** Puts only the layout of an operand into the descriptor: for workspace queries, which look at no data. */
    void layout(long offset, Operand operand) {
        put(offset, operand.present() ? operand.layout() : null);
    }

    /** The next operand has no layout in the descriptor: a value that changes from step to step, such as a learning rate or a random key. */
    void pointer(String name, MemorySegment segment, long bytes, boolean written) {
        add(checked(name, segment, bytes, written, null));
    }

    private void add(MemorySegment pointer) {
        // a query gets none
        if (count < now.end) {
            pointers[count] = pointer;
        }
        count++;
    }

    private MemorySegment checked(String name, MemorySegment segment, long bytes, boolean written, @Nullable Layout layout) {
        if (!segment.isNative()) {
            throw GatunException.invalid(operation(), name + " is on the Java heap; kernels need native memory");
        }
        if (segment.address() == 0) {
            if (bytes == 0) {
                return segment;
            }
            throw GatunException.invalid(operation(), name + " is NULL");
        }
        if (segment.byteSize() < bytes) {
            throw GatunException.invalid(
                    operation(), name + " has " + segment.byteSize() + " bytes, " + (layout == null ? bytes + " bytes" : layout) + " needs " + bytes);
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

    /** Runs the operation. */
    void run() {
        complete(Downcall.Form.OPERATION);
        begin();
        check(invoke());
        end(0);
    }

    /** Runs an operation that takes a workspace after its operands. */
    void runWithWorkspace(MemorySegment workspace) {
        add(checked("workspace", workspace, 0, true, null));
        complete(Downcall.Form.WITH_WORKSPACE);
        long bytes = workspace.byteSize();
        begin();
        check(invoke(bytes));
        end(bytes);
    }

    /** Asks for the bytes of workspace that the descriptor needs; the downcall must be a workspace query. */
    long queryWorkspace() {
        if (!downcall.query()) {
            throw new AssertionError(downcall.name() + " is no workspace query");
        }
        begin();
        check(invoke());
        end(0);
        return answer.get(ValueLayout.JAVA_LONG, 0);
    }

    private int invoke() {
        try {
            return Handles.call(library.address(downcall), pointers);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(downcall.name(), e);
        }
    }

    private int invoke(long workspaceBytes) {
        try {
            return Handles.call(library.address(downcall), pointers, workspaceBytes, error);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(downcall.name(), e);
        }
    }

    private void complete(Downcall.Form form) {
        if (downcall.form() != form || count != now.end) {
            throw new AssertionError(downcall.name() + " takes " + (now.end - now.first) + " operands as " + downcall.form() + ", given " + (count - now.first) + " as " + form);
        }
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

    /** The stream's next operation may begin. */
    @Override
    public void close() {
        // whose memory it was is none of the stream's business any more
        Arrays.fill(pointers, now.first, now.end, null);
        tracing = null;
        BUSY.setRelease(this, false);
    }
}
