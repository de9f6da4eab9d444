// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** A stream's calls use one descriptor a function again and again: nothing is allocated, and nothing is left over from the call before. */
class CallReuseTest {
    private static final int CALLS = 2_000;

    @Test
    void aCallMakesNoGarbage() throws ReflectiveOperationException {
        try (Native device = new Native(1)) {
            Operand x = device.of(Native.normal(16, 1), 2, 8);
            Operand y = device.empty(DType.F32, 2, 8);
            Operand norm = device.empty(DType.F32, 2);
            MemorySegment workspace = device.arena.allocate(1 << 20, 64);
            Operand q = device.of(Native.normal(8, 2), 1, 1, 1, 8);
            Operand o = device.empty(DType.F32, 1, 1, 1, 8);
            Operand lse = device.empty(DType.F32, 1, 1, 1);
            Attention.Inputs inputs = Attention.Inputs.batched(q, q, q, 1);
            Attention.Gradients gradients = new Attention.Gradients(device.empty(DType.F32, 1, 1, 1, 8), device.empty(DType.F32, 1, 1, 1, 8),
                    device.empty(DType.F32, 1, 1, 1, 8));
            Runnable calls = () -> {
                L2Normalize.forward(device.stream, x, y, norm, 1e-12f);
                Sinkhorn.workspace(device.stream, x);
                Sinkhorn.codes(device.stream, x, y, .5f, 1, workspace);
                Elementwise.fill(device.stream, 1, y);
                Elementwise.binary(device.stream, Elementwise.Binary.ADD, x, y, y);
                Attention.forward(device.stream, inputs, o, lse, workspace);
                Attention.backward(device.stream, inputs, o, lse, o, gradients, workspace);
            };
            double bytes = allocated(calls);
            // compilers work beside the test: it is asked again until they are done
            for (int round = 0; bytes > 1 && round < 100; round++) {
                bytes = allocated(calls);
            }
            assertEquals(0, bytes, 1);
        }
    }

    private static double allocated(Runnable work) throws ReflectiveOperationException {
        long before = allocatedBytes();
        for (int i = 0; i < CALLS; i++) {
            work.run();
        }
        return (allocatedBytes() - before) / (double) CALLS;
    }

    /** Of this thread so far. By reflection: the tests belong to a module that does not read the management one. */
    private static long allocatedBytes() throws ReflectiveOperationException {
        Object bean = Class.forName("java.lang.management.ManagementFactory").getMethod("getThreadMXBean").invoke(null);
        return (long) Class.forName("com.sun.management.ThreadMXBean").getMethod("getCurrentThreadAllocatedBytes").invoke(bean);
    }

    @Test
    void anOperandThatWasThereBeforeIsGone() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 2, 3, 4}, 2, 2);
            Operand y = device.empty(DType.F32, 2, 2);
            Elementwise.binary(device.stream, Elementwise.Binary.ADD, x, x, y);
            Elementwise.fill(device.stream, 7, y);
            assertArrayEquals(new float[] {7, 7, 7, 7}, Native.floats(y));
            // another rank, then the first one again
            Operand row = device.of(new float[] {5, 6}, 2);
            Elementwise.binary(device.stream, Elementwise.Binary.ADD, x, row, y);
            assertArrayEquals(new float[] {6, 8, 8, 10}, Native.floats(y));
            Elementwise.copy(device.stream, x, y);
            assertArrayEquals(new float[] {1, 2, 3, 4}, Native.floats(y));
        }
    }

    @Test
    void constantsOfTheOtherKindAreGone() {
        try (Native device = new Native()) {
            Augmentation.Images images = Augmentation.Images.equal(new Operand(device.arena.allocate(4 * 4), Layout.of(DType.U8, 1, 4, 4, 1)));
            images.values().segment().fill((byte) 100);
            Operand zero = device.of(new float[] {0}, 1);
            Operand one = device.of(new float[] {1}, 1);
            Operand drawn = device.empty(DType.F32, 1, Augmentation.PARAMETERS);
            Operand view = device.empty(DType.F32, 1, 2, 2, 1);
            MemorySegment key = device.arena.allocate(RandomKey.BYTES, 8);
            new RandomKey(1, 2, 3).write(key);
            List<Augmentation.Crop> kinds = List.of(
                    new Augmentation.Crop.Random(.5f, .5f, 1, 1), new Augmentation.Crop.Central(3), new Augmentation.Crop.Random(.5f, .5f, 1, 1));
            List<float[]> parameters = new ArrayList<>();
            for (Augmentation.Crop kind : kinds) {
                Augmentation.Settings settings = Augmentation.Settings.plain(kind, true);
                long bytes = Augmentation.workspace(device.stream, settings, images, view);
                Augmentation.run(device.stream, settings, images, Operand.NONE, Operand.NONE, key, zero, one, view, drawn,
                        device.arena.allocate(Math.max(bytes, 1), 64));
                parameters.add(Native.floats(drawn));
            }
            assertArrayEquals(parameters.get(0), parameters.get(2));
            assertFalse(Arrays.equals(parameters.get(0), parameters.get(1)));
        }
    }

    @Test
    void aFailedCallLeavesTheStreamUsable() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {3, 4}, 1, 2);
            Operand norm = device.empty(DType.F32, 1);
            for (int i = 0; i < 3; i++) {
                assertThrows(GatunException.class, () -> L2Normalize.forward(device.stream, x, x, device.empty(DType.F32, 9), 1e-12f));
                assertThrows(GatunException.class,
                        () -> L2Normalize.forward(device.stream, x, new Operand(MemorySegment.NULL, x.layout()), norm, 1e-12f));
            }
            L2Normalize.forward(device.stream, x, x, norm, 1e-12f);
            assertArrayEquals(new float[] {.6f, .8f}, Native.floats(x));
        }
    }

    /** Not allowed, but no reason for the process to end. */
    @Test
    void twoThreadsOnOneStreamDoNotSpoilEachOthersDescriptors() throws Exception {
        try (Native device = new Native(1); ExecutorService pool = Executors.newFixedThreadPool(2)) {
            List<Future<Boolean>> results = new ArrayList<>();
            for (int t = 0; t < 2; t++) {
                int rows = 1 + 63 * t;
                results.add(pool.submit(() -> {
                    try (Native own = new Native(1)) {
                        Operand x = own.empty(DType.F32, rows, 8);
                        Operand norm = own.empty(DType.F32, rows);
                        for (int i = 0; i < CALLS; i++) {
                            Elementwise.fill(device.stream, 2, x);
                            L2Normalize.forward(device.stream, x, x, norm, 1e-12f);
                        }
                        float[] norms = Native.floats(norm);
                        for (float each : norms) {
                            if (Math.abs(each - Math.sqrt(32)) > 1e-5) {
                                return false;
                            }
                        }
                        return true;
                    }
                }));
            }
            for (Future<Boolean> result : results) {
                assertTrue(result.get());
            }
        }
    }

    @Test
    void aStreamDoesNotKeepItsCallersMemory() throws InterruptedException {
        try (Native device = new Native(1)) {
            Operand x = device.of(new float[] {3, 4}, 1, 2);
            WeakReference<MemorySegment> last = normalised(device, x);
            for (int i = 0; i < 50 && last.get() != null; i++) {
                System.gc();
                Thread.sleep(10);
            }
            assertEquals(null, last.get());
        }
    }

    private static WeakReference<MemorySegment> normalised(Native device, Operand x) {
        MemorySegment norm = Arena.ofAuto().allocate(4, 4);
        L2Normalize.forward(device.stream, x, x, new Operand(norm, Layout.of(DType.F32, 1)), 1e-12f);
        return new WeakReference<>(norm);
    }
}
