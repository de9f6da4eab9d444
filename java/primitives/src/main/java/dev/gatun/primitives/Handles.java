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

/**
 * The downcalls of C functions by the number of their pointers. A handle is bound to no function, so few serve all; each is a constant at its
 * one call site, which the JIT compiles to a plain call wherever the arguments come from. A class a handle: only what is used is linked.
 */
final class Handles {
    private Handles() {}

    /** {@code f(p[0], ..., p[n-1])}. */
    static int call(MemorySegment f, MemorySegment[] p) throws Throwable {
        return switch (p.length) {
            case 2 -> (int) P2.HANDLE.invokeExact(f, p);
            case 3 -> (int) P3.HANDLE.invokeExact(f, p);
            case 4 -> (int) P4.HANDLE.invokeExact(f, p);
            case 5 -> (int) P5.HANDLE.invokeExact(f, p);
            case 6 -> (int) P6.HANDLE.invokeExact(f, p);
            case 7 -> (int) P7.HANDLE.invokeExact(f, p);
            case 8 -> (int) P8.HANDLE.invokeExact(f, p);
            case 9 -> (int) P9.HANDLE.invokeExact(f, p);
            case 10 -> (int) P10.HANDLE.invokeExact(f, p);
            case 11 -> (int) P11.HANDLE.invokeExact(f, p);
            case 12 -> (int) P12.HANDLE.invokeExact(f, p);
            case 13 -> (int) P13.HANDLE.invokeExact(f, p);
            case 14 -> (int) P14.HANDLE.invokeExact(f, p);
            case 15 -> (int) P15.HANDLE.invokeExact(f, p);
            case 16 -> (int) P16.HANDLE.invokeExact(f, p);
            case 17 -> (int) P17.HANDLE.invokeExact(f, p);
            case 18 -> (int) P18.HANDLE.invokeExact(f, p);
            default -> throw new AssertionError("a function of " + p.length + " pointers");
        };
    }

    /** {@code f(p[0], ..., p[n-1], bytes, error)}; the last of p is the workspace. */
    static int call(MemorySegment f, MemorySegment[] p, long bytes, MemorySegment error) throws Throwable {
        return switch (p.length) {
            case 4 -> (int) W4.HANDLE.invokeExact(f, p, bytes, error);
            case 5 -> (int) W5.HANDLE.invokeExact(f, p, bytes, error);
            case 6 -> (int) W6.HANDLE.invokeExact(f, p, bytes, error);
            case 7 -> (int) W7.HANDLE.invokeExact(f, p, bytes, error);
            case 8 -> (int) W8.HANDLE.invokeExact(f, p, bytes, error);
            case 9 -> (int) W9.HANDLE.invokeExact(f, p, bytes, error);
            case 10 -> (int) W10.HANDLE.invokeExact(f, p, bytes, error);
            case 11 -> (int) W11.HANDLE.invokeExact(f, p, bytes, error);
            case 12 -> (int) W12.HANDLE.invokeExact(f, p, bytes, error);
            case 13 -> (int) W13.HANDLE.invokeExact(f, p, bytes, error);
            case 14 -> (int) W14.HANDLE.invokeExact(f, p, bytes, error);
            case 15 -> (int) W15.HANDLE.invokeExact(f, p, bytes, error);
            case 16 -> (int) W16.HANDLE.invokeExact(f, p, bytes, error);
            case 17 -> (int) W17.HANDLE.invokeExact(f, p, bytes, error);
            case 18 -> (int) W18.HANDLE.invokeExact(f, p, bytes, error);
            default -> throw new AssertionError("a function of " + p.length + " pointers and a workspace");
        };
    }

    private static MethodHandle pointers(int count) {
        MemoryLayout[] arguments = new MemoryLayout[count];
        Arrays.fill(arguments, ADDRESS);
        return link(count, arguments);
    }

    private static MethodHandle workspace(int count) {
        MemoryLayout[] arguments = new MemoryLayout[count + 2];
        Arrays.fill(arguments, ADDRESS);
        arguments[count] = JAVA_LONG;
        return link(count, arguments);
    }

    private static MethodHandle link(int count, MemoryLayout[] arguments) {
        return Linker.nativeLinker()
                .downcallHandle(FunctionDescriptor.of(JAVA_INT, arguments))
                .asSpreader(1, MemorySegment[].class, count);
    }

    private static final class P2 {
        static final MethodHandle HANDLE = pointers(2);
    }

    private static final class P3 {
        static final MethodHandle HANDLE = pointers(3);
    }

    private static final class P4 {
        static final MethodHandle HANDLE = pointers(4);
    }

    private static final class P5 {
        static final MethodHandle HANDLE = pointers(5);
    }

    private static final class P6 {
        static final MethodHandle HANDLE = pointers(6);
    }

    private static final class P7 {
        static final MethodHandle HANDLE = pointers(7);
    }

    private static final class P8 {
        static final MethodHandle HANDLE = pointers(8);
    }

    private static final class P9 {
        static final MethodHandle HANDLE = pointers(9);
    }

    private static final class P10 {
        static final MethodHandle HANDLE = pointers(10);
    }

    private static final class P11 {
        static final MethodHandle HANDLE = pointers(11);
    }

    private static final class P12 {
        static final MethodHandle HANDLE = pointers(12);
    }

    private static final class P13 {
        static final MethodHandle HANDLE = pointers(13);
    }

    private static final class P14 {
        static final MethodHandle HANDLE = pointers(14);
    }

    private static final class P15 {
        static final MethodHandle HANDLE = pointers(15);
    }

    private static final class P16 {
        static final MethodHandle HANDLE = pointers(16);
    }

    private static final class P17 {
        static final MethodHandle HANDLE = pointers(17);
    }

    private static final class P18 {
        static final MethodHandle HANDLE = pointers(18);
    }

    private static final class W4 {
        static final MethodHandle HANDLE = workspace(4);
    }

    private static final class W5 {
        static final MethodHandle HANDLE = workspace(5);
    }

    private static final class W6 {
        static final MethodHandle HANDLE = workspace(6);
    }

    private static final class W7 {
        static final MethodHandle HANDLE = workspace(7);
    }

    private static final class W8 {
        static final MethodHandle HANDLE = workspace(8);
    }

    private static final class W9 {
        static final MethodHandle HANDLE = workspace(9);
    }

    private static final class W10 {
        static final MethodHandle HANDLE = workspace(10);
    }

    private static final class W11 {
        static final MethodHandle HANDLE = workspace(11);
    }

    private static final class W12 {
        static final MethodHandle HANDLE = workspace(12);
    }

    private static final class W13 {
        static final MethodHandle HANDLE = workspace(13);
    }

    private static final class W14 {
        static final MethodHandle HANDLE = workspace(14);
    }

    private static final class W15 {
        static final MethodHandle HANDLE = workspace(15);
    }

    private static final class W16 {
        static final MethodHandle HANDLE = workspace(16);
    }

    private static final class W17 {
        static final MethodHandle HANDLE = workspace(17);
    }

    private static final class W18 {
        static final MethodHandle HANDLE = workspace(18);
    }
}
