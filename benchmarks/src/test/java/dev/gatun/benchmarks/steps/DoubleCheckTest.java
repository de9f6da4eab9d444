// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class DoubleCheckTest {
    private static final List<String> NAMES = List.of("loss", "gradient of w", "w after the step");

    private static List<float[]> results(float loss, float gradient, float value) {
        return List.of(new float[] {loss}, new float[] {gradient, 1}, new float[] {value, 2});
    }

    private static void check(List<float[]> ours, List<float[]> peer) {
        DoubleCheck.check("form", NAMES, ours, peer, results(3, 1, 2));
    }

    @Test
    void oursMayBeTwiceAsFarOffAsThePeer() {
        assertDoesNotThrow(() -> check(results(3, 1, 2), results(3, 1, 2)));
        assertDoesNotThrow(() -> check(results(3, 1.0019f, 2), results(3, 1.001f, 2)));
        assertThrows(IllegalStateException.class, () -> check(results(3, 1.0022f, 2), results(3, 1.001f, 2)));
    }

    @Test
    void whereThePeerIsExactOnlyTheRoundingOfTheResultIsAllowed() {
        assertDoesNotThrow(() -> check(results(3, 1.000001f, 2), results(3, 1, 2)));
        assertThrows(IllegalStateException.class, () -> check(results(3.00001f, 1, 2), results(3, 1, 2)));
        assertThrows(IllegalStateException.class, () -> check(results(3, 1.00001f, 2), results(3, 1, 2)));
        assertThrows(IllegalStateException.class, () -> check(results(3, 1, 2.00001f), results(3, 1, 2)));
    }

    @Test
    void aPeerThatComputedSomethingElseFails() {
        assertThrows(IllegalStateException.class, () -> check(results(3, 1.2f, 2), results(3, 1.2f, 2)));
    }

    @Test
    void whatIsNoNumberOrNotThereFails() {
        assertThrows(IllegalStateException.class, () -> check(results(3, Float.NaN, 2), results(3, 1, 2)));
        assertThrows(IllegalStateException.class, () -> check(results(3, 1, 2), results(3, Float.NaN, 2)));
        assertThrows(IllegalStateException.class, () -> check(results(3, 1, 2), List.of(new float[] {3})));
        assertThrows(IllegalStateException.class, () -> check(results(3, 1, 2), List.of(new float[] {3}, new float[] {1}, new float[] {2, 2})));
    }
}
