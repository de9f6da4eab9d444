// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.primitives.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.Consumer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class UploadsTest {
    private static Device device(String name) {
        return name.equals("cpu") ? Device.cpu(1) : Device.emulated();
    }

    private static Consumer<MemorySegment> values(float... values) {
        return memory -> MemorySegment.copy(values, 0, memory, ValueLayout.JAVA_FLOAT, 0, values.length);
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "emulated"})
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
    @ValueSource(strings = {"cpu", "emulated"})
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
}
