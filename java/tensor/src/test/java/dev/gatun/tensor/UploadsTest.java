// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunContext;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class UploadsTest {
    // a late stream does nothing before somebody waits for it: the computing stream, the copying one, both
    private static Device device(String name) {
        return name.equals("cpu") ? Device.cpu(1) : Device.emulated(0, GatunContext.Late.valueOf(name));
    }

    private static Consumer<MemorySegment> values(float... values) {
        return memory -> MemorySegment.copy(values, 0, memory, ValueLayout.JAVA_FLOAT, 0, values.length);
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "NONE", "FIRST", "OTHERS", "ALL"})
    void aTargetIsFilledUsedAndGivenBack(String name) {
        try (Device device = device(name);
                UploadTarget target = device.uploads().target(DType.F32, 3)) {
            for (int i = 0; i < 5; i++) {
                target.fill(values(i, 1, 2));
                try (Scope step = device.scope().open()) {
                    Tensor x = target.use(step);
                    assertEquals(step, x.add(1).scope());
                    assertArrayEquals(new float[] {i, 1, 2}, x.toArray());
                    target.release();
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "NONE", "FIRST", "OTHERS", "ALL"})
    void theOrderOfCallsIsChecked(String name) {
        try (Device device = device(name);
                Scope step = device.scope().open()) {
            UploadTarget target = device.uploads().target(DType.F32, 1);
            assertThrows(TensorException.class, () -> target.use(step));
            assertThrows(TensorException.class, target::release);
            target.fill(values(1));
            target.fill(values(2));
            assertThrows(TensorException.class, target::release);
            assertEquals(2, target.use(step).toArray()[0]);
            assertThrows(TensorException.class, () -> target.fill(values(3)));
            target.close();
            target.close();
            assertThrows(TensorException.class, () -> target.fill(values(3)));
            assertThrows(TensorException.class, () -> target.use(step));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "NONE", "FIRST", "OTHERS", "ALL"})
    void valuesMayBeOverwrittenAtOnce(String name) {
        try (Device device = device(name);
                Scope step = device.scope().open()) {
            List<Tensor> results = new ArrayList<>();
            float[] values = new float[3];
            // more than the ring has buffers
            for (int i = 0; i < 200; i++) {
                Arrays.fill(values, i);
                results.add(step.of(values));
            }
            for (int i = 0; i < 200; i++) {
                assertArrayEquals(new float[] {i, i, i}, results.get(i).toArray());
            }
            assertTrue(device.uploads().pinnedBytes() <= 64 << 16, () -> "pinned: " + device.uploads().pinnedBytes());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "NONE", "FIRST", "OTHERS", "ALL"})
    void longCopiesGoInPieces(String name) {
        try (Device device = device(name);
                Scope step = device.scope().open()) {
            float[] values = new float[(9 << 20) / 4 + 1];
            for (int i = 0; i < values.length; i++) {
                values[i] = i;
            }
            Tensor copied = step.of(values);
            Tensor written = step.empty(values.length).zero();
            written.write(values(values));
            Arrays.fill(values, -1);
            for (Tensor t : List.of(copied, written)) {
                float[] back = t.toArray();
                assertEquals(0, back[0]);
                assertEquals((4 << 20) / 4, back[(4 << 20) / 4]);
                assertEquals(values.length - 1, back[values.length - 1]);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "NONE", "FIRST", "OTHERS", "ALL"})
    void aLoaderFillsWhileTheTrainerComputes(String name) throws Exception {
        int steps = 20;
        int size = 500;
        try (Device device = device(name);
                ExecutorService loader = Executors.newSingleThreadExecutor()) {
            List<UploadTarget> targets =
                    List.of(device.uploads().target(DType.F32, size), device.uploads().target(DType.F32, size));
            List<Tensor> results = new ArrayList<>();
            Future<?> next = loader.submit(() -> targets.get(0).fill(constant(0, size)));
            for (int step = 0; step < steps; step++) {
                int following = step + 1;
                next.get();
                next = loader.submit(() -> targets.get(following % 2).fill(constant(following, size)));
                try (Scope work = device.scope().open()) {
                    UploadTarget target = targets.get(step % 2);
                    Tensor x = target.use(work);
                    // the target is free as soon as its last reader has been submitted, not when it is done
                    results.add(x.mul(2).add(1).keep(device.scope()));
                    target.release();
                }
            }
            next.get();
            for (int step = 0; step < steps; step++) {
                float[] expected = new float[size];
                Arrays.fill(expected, 2 * step + 1);
                assertArrayEquals(expected, results.get(step).toArray(), "step " + step);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"NONE", "FIRST", "OTHERS", "ALL"})
    void memoryChangesHandsBehindEvents(String name) {
        int size = 300;
        try (Device device = device(name)) {
            Tensor result;
            try (Scope step = device.scope().open()) {
                Tensor x = step.full(1, size);
                device.stream().synchronize();
                result = x.add(1).keep(device.scope());
            }
            long requests = device.allocatorRequests();
            // the target gets the memory of x, which the device may still have to read
            UploadTarget target = device.uploads().target(DType.F32, size);
            target.fill(constant(7, size));
            target.close();
            // and this tensor the target's, whose copy nobody waited for
            Tensor y = device.scope().full(3, size);
            assertEquals(requests, device.allocatorRequests());
            try (UploadTarget other = device.uploads().target(DType.F32, size);
                    Scope step = device.scope().open()) {
                other.fill(constant(4, size));
                assertEquals(4, other.use(step).toArray()[0]);
            }
            assertEquals(3, y.toArray()[size - 1]);
            assertEquals(2, result.toArray()[size - 1]);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"NONE", "FIRST", "OTHERS", "ALL"})
    void whatAWriterThrowsLeavesTheTargetAsItWas(String name) {
        try (Device device = device(name);
                UploadTarget target = device.uploads().target(DType.F32, 2);
                Scope step = device.scope().open()) {
            target.fill(values(1, 2));
            assertThrows(IllegalStateException.class, () -> target.fill(memory -> {
                throw new IllegalStateException("no such image");
            }));
            assertArrayEquals(new float[] {1, 2}, target.use(step).toArray());
        }
    }

    private static Consumer<MemorySegment> constant(float value, int size) {
        float[] all = new float[size];
        Arrays.fill(all, value);
        return values(all);
    }
}
