// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

/**
 * Interpolation of position embeddings from one grid of patches to another, as a matrix: bicubic with half-pixel centres
 * and, when the grid shrinks, a filter as wide as the reduction (Keys' kernel with a = -1/2, what timm does).
 */
final class PositionGrid {
    private static final double A = -.5;

    private PositionGrid() {}

    /**
     * @return (toHeight * toWidth, fromHeight * fromWidth), row-major; each row sums to 1
     */
    static float[] weights(int fromHeight, int fromWidth, int toHeight, int toWidth) {
        double[][] rows = axis(fromHeight, toHeight);
        double[][] columns = axis(fromWidth, toWidth);
        float[] weights = new float[toHeight * toWidth * fromHeight * fromWidth];
        int at = 0;
        for (int y = 0; y < toHeight; y++) {
            for (int x = 0; x < toWidth; x++) {
                for (int v = 0; v < fromHeight; v++) {
                    for (int u = 0; u < fromWidth; u++) {
                        weights[at++] = (float) (rows[y][v] * columns[x][u]);
                    }
                }
            }
        }
        return weights;
    }

    private static double[][] axis(int from, int to) {
        double scale = from / (double) to;
        double stretch = Math.max(1, scale);
        double[][] weights = new double[to][from];
        for (int i = 0; i < to; i++) {
            double total = 0;
            for (int j = 0; j < from; j++) {
                weights[i][j] = cubic(Math.abs(j + .5 - (i + .5) * scale) / stretch);
                total += weights[i][j];
            }
            for (int j = 0; j < from; j++) {
                weights[i][j] /= total;
            }
        }
        return weights;
    }

    private static double cubic(double x) {
        if (x < 1) {
            return ((A + 2) * x - (A + 3)) * x * x + 1;
        }
        return x < 2 ? ((A * x - 5 * A) * x + 8 * A) * x - 4 * A : 0;
    }
}
