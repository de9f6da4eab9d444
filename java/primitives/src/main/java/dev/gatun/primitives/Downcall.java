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
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * A C function that is not bound to a library: its address in the chosen library is the first argument of the handle. Kept in
 * {@code static final} fields, so that the JIT compiles the call like any other.
 *
 * @param name the C function
 * @param signature its types as {@code gatun_abi_describe} writes them
 * @param handle takes (function, all leading pointers as an array[, workspace bytes, error]) and returns a status
 */
record Downcall(String name, String signature, MethodHandle handle) {
    private static final List<Downcall> ALL = new CopyOnWriteArrayList<>();

    /** {@code gatun_X(stream, desc, p1 ... pn, error)} with n data pointers. */
    static Downcall operation(String name, int pointers) {
        return pointers(name, pointers + 3);
    }

    /** {@code gatun_X(stream, desc, p1 ... pn, workspace, workspace_bytes, error)} with n data pointers. */
    static Downcall withWorkspace(String name, int pointers) {
        MemoryLayout[] arguments = new MemoryLayout[pointers + 5];
        Arrays.fill(arguments, ADDRESS);
        arguments[pointers + 3] = JAVA_LONG;
        MethodHandle handle = Linker.nativeLinker()
                .downcallHandle(FunctionDescriptor.of(JAVA_INT, arguments))
                .asSpreader(1, MemorySegment[].class, pointers + 3);
        return register(new Downcall(name, "i32(" + "ptr,".repeat(pointers + 3) + "u64,ptr)", handle));
    }

    /** {@code gatun_X_workspace(desc, bytes, error)}. */
    static Downcall workspaceQuery(String name) {
        return pointers(name, 3);
    }

    /** {@code gatun_X_workspace(stream, desc, bytes, error)}, where the workspace depends on the stream's threads. */
    static Downcall streamWorkspaceQuery(String name) {
        return pointers(name, 4);
    }

    /** A function of the library with the given number of pointers, the last of which is the error. */
    static Downcall pointers(String name, int count) {
        MemoryLayout[] arguments = new MemoryLayout[count];
        Arrays.fill(arguments, ADDRESS);
        MethodHandle handle = Linker.nativeLinker()
                .downcallHandle(FunctionDescriptor.of(JAVA_INT, arguments))
                .asSpreader(1, MemorySegment[].class, count);
        return register(new Downcall(name, "i32(" + "ptr,".repeat(count - 1) + "ptr)", handle));
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
        return register(new Downcall(name, signature, Linker.nativeLinker().downcallHandle(FunctionDescriptor.of(JAVA_INT, arguments))));
    }

    static Downcall register(Downcall downcall) {
        ALL.add(downcall);
        return downcall;
    }

    static List<Downcall> all() {
        return ALL;
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

    /** Calls with pointers only; the last one is the error. */
    int invoke(MemorySegment function, MemorySegment... pointers) {
        try {
            return (int) handle.invokeExact(function, pointers);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(name, e);
        }
    }

    /** Calls with a workspace: pointers end with the workspace. */
    int invoke(MemorySegment function, MemorySegment[] pointers, long workspaceBytes, MemorySegment error) {
        try {
            return (int) handle.invokeExact(function, pointers, workspaceBytes, error);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(name, e);
        }
    }
}
