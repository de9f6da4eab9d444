// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class AgreementTest {
    private static void check(float[] ours, float[] theirs) {
        Agreement.check("form", List.of(ours), List.of(theirs), 1e-4);
    }

    @Test
    void whatDiffersWithinTheToleranceAgrees() {
        assertDoesNotThrow(() -> check(new float[] {1, -2, 3}, new float[] {1.00001f, -2, 3.00001f}));
        assertDoesNotThrow(() -> check(new float[0], new float[0]));
    }

    @Test
    void aWrongValueANanAndAWrongLengthFail() {
        assertThrows(IllegalStateException.class, () -> check(new float[] {1, -2, 3}, new float[] {1, -2, 3.01f}));
        assertThrows(IllegalStateException.class, () -> check(new float[] {1, Float.NaN}, new float[] {1, 2}));
        assertThrows(IllegalStateException.class, () -> check(new float[] {1, 2}, new float[] {1, Float.NaN}));
        assertThrows(IllegalStateException.class, () -> check(new float[] {1, 2}, new float[] {1, 2, 3}));
        assertThrows(IllegalStateException.class, () -> check(new float[] {1e-3f}, new float[] {0}));
    }

    @Test
    void aPeerMayReturnLessButNotMore() {
        float[] one = {1};
        assertDoesNotThrow(() -> Agreement.check("form", List.of(one, one), List.of(one), 1e-4));
        assertThrows(IllegalStateException.class, () -> Agreement.check("form", List.of(one), List.of(one, one), 1e-4));
    }
}
