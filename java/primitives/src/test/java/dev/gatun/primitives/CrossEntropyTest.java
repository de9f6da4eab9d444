// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class CrossEntropyTest {
    @Test
    void softTargetsAndLabelsAgreeWhereTheyMeanTheSame() {
        try (Native device = new Native()) {
            Operand logits = device.of(Native.normal(3 * 5, 1), 3, 5);
            Operand soft = device.of(new float[] {0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}, 3, 5);
            Operand labels = device.of(new int[] {1, 4, -1}, 3);
            Operand dloss = device.of(new float[] {1, 2, 3}, 3);
            Operand[] loss = {device.empty(DType.F32, 3), device.empty(DType.F32, 3)};
            Operand kept = device.empty(DType.F32, 2 * 3);
            Operand[] gradient = {device.empty(DType.F32, 3, 5), device.empty(DType.F32, 3, 5)};
            CrossEntropy.forward(device.stream, 0.5f, logits, soft, loss[0], Operand.NONE, kept);
            CrossEntropy.forward(device.stream, 0.5f, logits, labels, loss[1], device.empty(DType.F32, 3), Operand.NONE);
            CrossEntropy.backward(device.stream, 0.5f, logits, soft, kept, dloss, gradient[0]);
            CrossEntropy.backward(device.stream, 0.5f, logits, labels, Operand.NONE, dloss, gradient[1]);
            assertArrayEquals(Native.floats(loss[0]), Native.floats(loss[1]), 4e-6f);
            assertArrayEquals(Native.floats(gradient[0]), Native.floats(gradient[1]), 4e-6f);
            assertTrue(Native.floats(loss[0])[0] > 0);
            assertEquals(0, Native.floats(loss[0])[2]);
        }
    }

    @Test
    void equalLogitsCostTheLogarithmOfTheirNumber() {
        try (Native device = new Native()) {
            Operand loss = device.empty(DType.F32, 1);
            CrossEntropy.forward(
                    device.stream, 0.1f, device.of(new float[8], 1, 8), device.of(new int[] {3}, 1), loss, Operand.NONE, Operand.NONE);
            assertEquals(Math.log(8), Native.floats(loss)[0], 4 * Math.ulp(2f));
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand logits = device.empty(DType.F32, 4, 3);
            Operand loss = device.empty(DType.F32, 4);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> CrossEntropy.forward(
                            device.stream, 1, logits, device.empty(DType.I64, 4), loss, Operand.NONE, Operand.NONE));
            assertEquals("cross_entropy_forward", e.operation());
            assertTrue(e.getMessage().contains("targets is i64"), e.getMessage());
        }
    }
}
