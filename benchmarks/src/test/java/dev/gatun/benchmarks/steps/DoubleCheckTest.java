// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class DoubleCheckTest {
    private static final List<float[]> EXACT = results(3, 1, 2);
    private static final DoubleCheck CHECK = new DoubleCheck("the loss", List.of("w"), EXACT, DoubleCheck.RELUS);

    private static List<float[]> results(float loss, float gradient, float value) {
        return List.of(new float[] {loss}, new float[] {gradient, 1}, new float[] {value, 2});
    }

    private static void gradients(List<float[]> ours, List<float[]> peer) {
        CHECK.gradients("ours", ours, Map.of("form", peer));
    }

    private static void fails(List<float[]> ours, List<float[]> peer) {
        assertThrows(IllegalStateException.class, () -> gradients(ours, peer));
    }

    @Test
    void oursMayBeTwiceAsFarOffAsThePeer() {
        assertDoesNotThrow(() -> gradients(EXACT, EXACT));
        assertDoesNotThrow(() -> gradients(results(3, 1.0019f, 2), results(3, 1.001f, 2)));
        fails(results(3, 1.0022f, 2), results(3, 1.001f, 2));
    }

    @Test
    void theWorseOfTwoYardsticksCountsAndBothMustBeTheSameWork() {
        List<float[]> better = results(3, 1.0001f, 2);
        List<float[]> worse = results(3, 1.001f, 2);
        List<float[]> ours = results(3, 1.0019f, 2);
        assertDoesNotThrow(() -> CHECK.gradients("ours", ours, Map.of("better", better, "worse", worse)));
        fails(ours, better);
        List<float[]> other = results(3, 1.2f, 2);
        assertThrows(IllegalStateException.class, () -> CHECK.gradients("ours", ours, Map.of("worse", worse, "other", other)));
        DoubleCheck smooth = new DoubleCheck("the loss", List.of("w"), EXACT, DoubleCheck.SMOOTH);
        assertThrows(IllegalStateException.class, () -> smooth.gradients("ours", EXACT, Map.of("other", results(3, 1.01f, 2))));
    }

    @Test
    void whereThePeerIsExactOnlyRoundingIsAllowed() {
        assertDoesNotThrow(() -> gradients(results(3, 1.000001f, 2), EXACT));
        fails(results(3.00001f, 1, 2), EXACT);
        fails(results(3, 1.00001f, 2), EXACT);
    }

    @Test
    void aPeerThatComputedSomethingElseFails() {
        fails(results(3, 1.2f, 2), results(3, 1.2f, 2));
    }

    @Test
    void aParameterThatIsUpdatedDifferentlyFails() {
        assertDoesNotThrow(() -> CHECK.update(results(3, 1, 2.000002f)));
        assertThrows(IllegalStateException.class, () -> CHECK.update(results(3, 1, 2.00001f)));
    }

    @Test
    void whatIsNoNumberOrNotThereFails() {
        fails(results(3, Float.NaN, 2), EXACT);
        fails(EXACT, results(3, Float.NaN, 2));
        fails(EXACT, List.of(new float[] {3}));
        fails(EXACT, List.of(new float[] {3}, new float[] {1}, new float[] {2, 2}));
        assertThrows(IllegalStateException.class, () -> CHECK.update(results(3, 1, Float.NaN)));
    }
}
