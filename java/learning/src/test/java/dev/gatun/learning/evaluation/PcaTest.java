// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.tensor.Device;
import dev.gatun.tensor.Tensor;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class PcaTest {
    private static final int N = 300;
    private static final int D = 6;

    // rows with deviations 4, 2, 1, .5, .25 and 0 in mixed directions, far from the origin
    private static float[] rows() {
        SplittableRandom random = new SplittableRandom(1);
        float[] rows = new float[N * D];
        for (int i = 0; i < N; i++) {
            double[] hidden = new double[D];
            for (int d = 0; d < D - 1; d++) {
                hidden[d] = random.nextGaussian() * 4 / (1 << d);
            }
            for (int d = 0; d < D; d++) {
                // a reflection mixes all directions and keeps their deviations
                double mirrored = 0;
                for (double h : hidden) {
                    mirrored += 2 * h / D;
                }
                rows[i * D + d] = (float) (10 + d + hidden[d] - mirrored);
            }
        }
        return rows;
    }

    private static double[][] covariance(float[] rows, int width) {
        int n = rows.length / width;
        double[] mean = new double[width];
        for (int i = 0; i < rows.length; i++) {
            mean[i % width] += (double) rows[i] / n;
        }
        double[][] covariance = new double[width][width];
        for (int i = 0; i < n; i++) {
            for (int a = 0; a < width; a++) {
                for (int b = 0; b < width; b++) {
                    covariance[a][b] += (rows[i * width + a] - mean[a]) * (rows[i * width + b] - mean[b]) / n;
                }
            }
        }
        for (int a = 0; a < width; a++) {
            assertEquals(0, mean[a], 1e-4, "centred");
        }
        return covariance;
    }

    @Test
    void whiteningGivesTheIdentityAsCovariance() {
        try (Device device = Device.cpu(1)) {
            Tensor rows = device.scope().of(rows(), N, D);
            double[][] white = covariance(Pca.whiten(rows, D).toArray(), D);
            for (int a = 0; a < D; a++) {
                for (int b = 0; b < D; b++) {
                    // the last direction holds rounding only: it is left out, not blown up
                    assertEquals(a == b && a < D - 1 ? 1 : 0, white[a][b], 1e-4, a + ", " + b);
                }
            }
            double[][] coloured = covariance(Pca.project(rows, D).toArray(), D);
            for (int a = 0; a < D - 1; a++) {
                double variance = 16 / Math.pow(4, a);
                // four standard errors of a variance
                assertEquals(1, coloured[a][a] / variance, 4 * Math.sqrt(2.0 / N), "largest first");
            }
            double[][] leading = covariance(Pca.whiten(rows, 2).toArray(), 2);
            assertEquals(1, leading[1][1], 1e-4);
            assertEquals(0, leading[0][1], 1e-4);
        }
    }

    @Test
    void equalRowsHaveNoDirection() {
        try (Device device = Device.cpu(1)) {
            for (float x : Pca.whiten(device.scope().full(3f, N, D), 2).toArray()) {
                assertTrue(Math.abs(x) < 1e-5, "rounding is not whitened: " + x);
            }
            Tensor rows = device.scope().of(rows(), N, D);
            assertThrows(IllegalArgumentException.class, () -> Pca.whiten(rows, D + 1));
            assertThrows(IllegalArgumentException.class, () -> Pca.whiten(rows, 0));
        }
    }
}
