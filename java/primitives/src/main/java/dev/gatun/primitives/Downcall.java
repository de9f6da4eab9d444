// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jspecify.annotations.Nullable;

/**
 * A C function that is not bound to a library: its address in the chosen library is the first argument of a call.
 */
final class Downcall {
    /** What a function's pointers are. */
    enum Form {
        /** {@code (...)}: its own. */
        POINTERS,
        /** {@code (stream, desc, p1 ... pn, error)}. */
        OPERATION,
        /** {@code (stream, desc, p1 ... pn, workspace, workspace_bytes, error)}. */
        WITH_WORKSPACE,
        /** {@code (desc, bytes, error)}. */
        QUERY,
        /** {@code (stream, desc, bytes, error)}. */
        STREAM_QUERY
    }

    private static final String PREFIX = "gatun_";
    private static final List<Downcall> ALL = new CopyOnWriteArrayList<>();

    private final String name;
    private final String operation;
    private final String signature;
    private final int pointers;
    private final Form form;
    private final @Nullable MethodHandle handle;
    private final int index;

    private Downcall(String name, String signature, int pointers, Form form, @Nullable MethodHandle handle) {
        this.name = name;
        this.operation = name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
        this.signature = signature;
        this.pointers = pointers;
        this.form = form;
        this.handle = handle;
        synchronized (ALL) {
            index = ALL.size();
            ALL.add(this);
        }
    }

    /** {@code gatun_X(stream, desc, p1 ... pn, error)} with n data pointers. */
    static Downcall operation(String name, int pointers) {
        return pointers(name, pointers + 3, Form.OPERATION);
    }

    /** {@code gatun_X(stream, desc, p1 ... pn, workspace, workspace_bytes, error)} with n data pointers. */
    static Downcall withWorkspace(String name, int pointers) {
        return new Downcall(name, "i32(" + "ptr,".repeat(pointers + 3) + "u64,ptr)", pointers + 3, Form.WITH_WORKSPACE, null);
    }

    /** {@code gatun_X_workspace(desc, bytes, error)}. */
    static Downcall workspaceQuery(String name) {
        return pointers(name, 3, Form.QUERY);
    }

    /** {@code gatun_X_workspace(stream, desc, bytes, error)}, where the workspace depends on the stream's threads. */
    static Downcall streamWorkspaceQuery(String name) {
        return pointers(name, 4, Form.STREAM_QUERY);
    }

    /** A function of the library with the given number of pointers, the last of which is the error. */
    static Downcall pointers(String name, int count) {
        return pointers(name, count, Form.POINTERS);
    }

    private static Downcall pointers(String name, int count, Form form) {
        return new Downcall(name, "i32(" + "ptr,".repeat(count - 1) + "ptr)", count, form, null);
    }

    /** A function with a signature as {@code gatun_abi_describe} writes it, of pointers, {@code i32}, {@code i64} and {@code u64}. */
    static Downcall of(String name, String signature) {
        String list = signature.substring("i32(".length(), signature.length() - 1);
        MemoryLayout[] arguments = list.isEmpty()
                ? new MemoryLayout[0]
                : Arrays.stream(list.split(","))
                        .map(type -> switch (type) {
                            case "ptr" -> ADDRESS;
                            case "i32" -> JAVA_INT;
                            case "i64", "u64" -> JAVA_LONG;
                            default -> throw new IllegalArgumentException(type);
                        })
                        .toArray(MemoryLayout[]::new);
        return new Downcall(name, signature, 0, Form.POINTERS, Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(JAVA_INT, arguments)));
    }

    static List<Downcall> all() {
        return ALL;
    }

    /** The C function. */
    String name() {
        return name;
    }

    /** Its name as errors show it. */
    String operation() {
        return operation;
    }

    /** How many pointers it takes, before the bytes of a workspace if it has one. */
    int pointers() {
        return pointers;
    }

    Form form() {
        return form;
    }

    /** Whether it asks for the bytes of a workspace, and gets no operands. */
    boolean query() {
        return form == Form.QUERY || form == Form.STREAM_QUERY;
    }

    /** Its place among all functions. */
    int index() {
        return index;
    }

    /** Takes (function, arguments), of one that {@link #of} made. */
    MethodHandle handle() {
        return Objects.requireNonNull(handle);
    }

    String describe() {
        return "function " + name + " " + signature;
    }

    /** A call of a handle with arguments of its own. */
    @FunctionalInterface
    interface Invocation {
        int run() throws Throwable;
    }

    /** Runs a call that can throw nothing that is checked, although its type says so. */
    static int status(Invocation invocation) {
        try {
            return invocation.run();
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** Calls one that takes pointers only; the last one is the error. */
    int invoke(MemorySegment function, MemorySegment... arguments) {
        return status(() -> Handles.call(function, arguments));
    }
}
