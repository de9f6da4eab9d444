// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class PositionGridTest {
    @Test
    void sameGridIsTheIdentity() {
        float[] weights = PositionGrid.weights(3, 4, 3, 4);
        for (int i = 0; i < 12; i++) {
            for (int j = 0; j < 12; j++) {
                assertEquals(i == j ? 1 : 0, weights[i * 12 + j], 1e-7f);
            }
        }
    }

    @Test
    void constantStaysConstant() {
        for (int[] s : new int[][] {{4, 4, 9, 5}, {14, 14, 6, 6}, {7, 3, 1, 2}}) {
            float[] weights = PositionGrid.weights(s[0], s[1], s[2], s[3]);
            for (int row = 0; row < s[2] * s[3]; row++) {
                double sum = 0;
                for (int i = 0; i < s[0] * s[1]; i++) {
                    sum += weights[row * s[0] * s[1] + i];
                }
                assertEquals(1, sum, 1e-6);
            }
        }
    }

    @Test
    void gradientKeepsItsSlopeAwayFromTheBorder() {
        // both kernels of width 4 and stretched ones reproduce linear functions where they see no border
        for (int to : new int[] {24, 6}) {
            float[] weights = PositionGrid.weights(12, 12, to, to);
            double scale = 12. / to;
            for (int y = to / 4; y < to - to / 4; y++) {
                for (int x = to / 4; x < to - to / 4; x++) {
                    double value = 0;
                    for (int i = 0; i < 144; i++) {
                        value += weights[(y * to + x) * 144 + i] * (2. * (i / 12) - 3. * (i % 12));
                    }
                    boolean border = scale > 1 && (y < 2 || x < 2 || y >= to - 2 || x >= to - 2);
                    double want = 2 * ((y + .5) * scale - .5) - 3 * ((x + .5) * scale - .5);
                    if (!border) {
                        assertEquals(want, value, 1e-5);
                    }
                }
            }
        }
    }

    @Test
    void shrinkingSeesEveryPosition() {
        float[] weights = PositionGrid.weights(12, 12, 3, 3);
        for (int i = 0; i < 144; i++) {
            double seen = 0;
            for (int row = 0; row < 9; row++) {
                seen += weights[row * 144 + i];
            }
            assertTrue(seen > .01, "position " + i);
        }
    }
}
