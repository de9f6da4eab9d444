// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.tensor.Tensor;

/** Measures whether embeddings collapse. */
public final class Spread {
    private Spread() {}

    /**
     * The standard deviation of a dimension over the rows, averaged over the dimensions, times √D: about 1 for unit vectors
     * in all directions, 0 if all are the same.
     *
     * @param embeddings (N, D), rows of unit length
     */
    public static double of(Tensor embeddings) {
        int width = (int) embeddings.size(1);
        float[] values = embeddings.toArray();
        int rows = values.length / width;
        double[] sum = new double[width];
        double[] squares = new double[width];
        for (int i = 0, at = 0; i < rows; i++) {
            for (int j = 0; j < width; j++, at++) {
                sum[j] += values[at];
                squares[j] += (double) values[at] * values[at];
            }
        }
        double spread = 0;
        for (int j = 0; j < width; j++) {
            double mean = sum[j] / rows;
            spread += Math.sqrt(Math.max(0, squares[j] / rows - mean * mean));
        }
        return spread / width * Math.sqrt(width);
    }
}
