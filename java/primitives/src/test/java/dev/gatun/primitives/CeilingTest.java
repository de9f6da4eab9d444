// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class CeilingTest {
    @Test
    void workIsCountedByIterationsAndThreads() {
        try (Native one = new Native(1);
                Native three = new Native(3)) {
            long flops = Ceiling.fma(one.stream, 10);
            // twelve chains of multiply-adds of whole vectors
            assertEquals(0, flops % (10 * 12 * 2));
            assertEquals(2 * flops, Ceiling.fma(one.stream, 20));
            assertEquals(3 * flops, Ceiling.fma(three.stream, 10));
            assertThrows(GatunException.class, () -> Ceiling.fma(one.stream, 0));
        }
    }

    @Test
    void tensorCoresAreCudas() {
        try (Native cpu = new Native(1);
                GatunContext context = GatunContext.emulated();
                GatunStream emulated = context.stream()) {
            GatunException none = assertThrows(GatunException.class, () -> Ceiling.mma(cpu.stream, DType.BF16, 1));
            assertEquals(GatunException.Status.UNSUPPORTED, none.status());
            long flops = Ceiling.mma(emulated, DType.BF16, 1);
            // products of 16 x 16 and 16 x 8
            assertEquals(0, flops % (2 * 16 * 16 * 8));
            assertEquals(2 * flops, Ceiling.mma(emulated, DType.F16, 2));
            assertThrows(GatunException.class, () -> Ceiling.mma(emulated, DType.F32, 1));
        }
    }

    @Test
    void aCopyIsWhole() {
        try (Native device = new Native()) {
            float[] values = Native.normal(40_003, 1);
            Operand y = device.empty(DType.F32, values.length);
            Ceiling.copy(device.stream, device.of(values, values.length), y);
            assertArrayEquals(values, Native.floats(y));
            assertThrows(GatunException.class, () -> Ceiling.copy(device.stream, y, device.empty(DType.F32, 5)));
        }
    }
}
