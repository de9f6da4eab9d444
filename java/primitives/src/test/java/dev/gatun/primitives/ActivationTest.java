// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class ActivationTest {
    @Test
    void valuesAndDerivativesAreTheFunctions() {
        // x, f(x), f'(x)
        check(Activation.Function.RELU, -2, 0, 0);
        check(Activation.Function.RELU, 3, 3, 1);
        check(Activation.Function.GELU, 1, 0.8413447460685429, 1.0833154705876860);
        check(Activation.Function.GELU, -1, -0.15865525393145707, -0.0833154705876860);
        check(Activation.Function.SIGMOID, 2, 0.8807970779778823, 0.1049935854035065);
        check(Activation.Function.TANH, 0.5, 0.46211715726000973, 0.7864477329659274);
        check(Activation.Function.TANH, -2, -0.9640275800758169, 0.07065082485316447);
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 4, 4);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> Activation.forward(device.stream, Activation.Function.RELU, x, device.empty(DType.F32, 4)));
            assertEquals("activation_forward", e.operation());
            assertTrue(e.getMessage().contains("y has rank 1, expected 2"), e.getMessage());
        }
    }

    private static void check(Activation.Function function, double x, double value, double slope) {
        try (Native device = new Native()) {
            Operand input = device.of(new float[] {(float) x, (float) x}, 2);
            Operand y = device.empty(DType.F32, 2);
            Activation.forward(device.stream, function, input, y);
            Operand dx = device.empty(DType.F32, 2);
            Activation.backward(device.stream, function, input, device.of(new float[] {1, 3}, 2), dx);
            assertEquals(value, Native.floats(y)[0], 4 * Math.ulp((float) value), function.name());
            assertEquals(slope, Native.floats(dx)[0], 4 * Math.ulp(1f), function.name());
            assertEquals(3 * slope, Native.floats(dx)[1], 12 * Math.ulp(1f), function.name());
        }
    }
}
