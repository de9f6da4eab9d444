// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class SoftmaxTest {
    @Test
    void rowsSumToOneAndTheGradientToZero() {
        try (Native device = new Native()) {
            float inf = Float.POSITIVE_INFINITY;
            float third = (float) (Math.log(3) / 2); // temperature 1/2 doubles it
            Operand x = device.of(new float[] {0, third, -inf, -inf, -inf, -inf}, 2, 3);
            Operand y = device.empty(DType.F32, 2, 3);
            Softmax.forward(device.stream, 0.5f, x, y);
            assertArrayEquals(new float[] {0.25f, 0.75f, 0, 0, 0, 0}, Native.floats(y), 2 * Math.ulp(1f));
            Operand dx = device.empty(DType.F32, 2, 3);
            Softmax.backward(device.stream, 0.5f, y, device.of(new float[] {1, 0, 0, 1, 0, 0}, 2, 3), dx);
            assertArrayEquals(new float[] {0.375f, -0.375f, 0, 0, 0, 0}, Native.floats(dx), 2 * Math.ulp(1f));
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 4, 3);
            GatunException e = assertThrows(GatunException.class, () -> Softmax.forward(device.stream, 0, x, x));
            assertEquals("softmax_forward", e.operation());
            assertTrue(e.getMessage().contains("temperature is 0"), e.getMessage());
        }
    }
}
