// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.Kmeans.Empty;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KmeansTest {
    private static final int N = 400;
    private static final int D = 5;
    private static final int K = 12;
    private static final double EPSILON = 1.0 / 1024;

    private final Device device = Device.cpu(2);

    @AfterEach
    void close() {
        device.close();
    }

    // blobs of different sizes, some far apart
    private Tensor rows(boolean unit) {
        SplittableRandom random = new SplittableRandom(4);
        float[] rows = new float[N * D];
        for (int i = 0; i < N; i++) {
            double length = 0;
            for (int d = 0; d < D; d++) {
                rows[i * D + d] = (float) (3 * ((i % 7) * (d + 2) % 5) + random.nextGaussian());
                length += (double) rows[i * D + d] * rows[i * D + d];
            }
            for (int d = 0; unit && d < D; d++) {
                rows[i * D + d] /= (float) Math.sqrt(length);
            }
        }
        return device.scope().of(rows, N, D);
    }

    /** What k-means lowers: squared distances to the own centroid, or the dot products with it, negated. */
    private static double objective(Tensor rows, Tensor centroids, boolean spherical) {
        float[] x = rows.toArray();
        float[] c = centroids.toArray();
        int[] assignment = Kmeans.assign(rows, centroids, spherical).toIntArray();
        double sum = 0;
        for (int i = 0; i < N; i++) {
            for (int d = 0; d < D; d++) {
                double a = x[i * D + d];
                double b = c[assignment[i] * D + d];
                sum += spherical ? -a * b : (a - b) * (a - b);
            }
        }
        return sum;
    }

    @ParameterizedTest
    @CsvSource({"false,KEEP", "false,SPLIT", "true,KEEP", "true,SPLIT"})
    void theObjectiveNeverRises(boolean spherical, Empty empty) {
        Tensor rows = rows(spherical);
        // K different rows to start with, and a few centroids that are never the best: they are empty
        Tensor centroids = device.scope().zeros(K, D);
        float[] start = Arrays.copyOf(rows.toArray(), K * D);
        for (int k = K - 3; k < K; k++) {
            System.arraycopy(start, 0, start, k * D, D);
        }
        centroids.copyFrom(start);
        double first = objective(rows, centroids, spherical);
        double before = first;
        // a split moves a centroid c by c / 1024; each of its rows is then at most so much further away
        double longest = largestSquare(rows);
        double split = empty == Empty.SPLIT ? N * longest * Math.pow(3 * EPSILON, 2) : 0;
        double rounding = N * D * Math.ulp((float) longest);
        for (int i = 0; i < 15; i++) {
            Kmeans.fit(rows, centroids, 1, spherical, empty);
            double now = objective(rows, centroids, spherical);
            assertTrue(now <= before + split + rounding, "iteration " + i + ": " + now + " after " + before);
            before = now;
        }
        assertTrue(before < first - 100 * (split + rounding), "and it has fallen: " + first + " to " + before);
    }

    private static double largestSquare(Tensor rows) {
        float[] x = rows.toArray();
        double largest = 0;
        for (int i = 0; i < N; i++) {
            double square = 0;
            for (int d = 0; d < D; d++) {
                square += (double) x[i * D + d] * x[i * D + d];
            }
            largest = Math.max(largest, square);
        }
        return largest;
    }

    @Test
    void severalIterationsAreThatManySingleOnes() {
        Tensor rows = rows(false);
        Tensor once = device.scope().of(Arrays.copyOf(rows.toArray(), K * D), K, D);
        Tensor often = device.scope().of(Arrays.copyOf(rows.toArray(), K * D), K, D);
        Kmeans.fit(rows, once, 4, false, Empty.KEEP);
        for (int i = 0; i < 4; i++) {
            Kmeans.fit(rows, often, 1, false, Empty.KEEP);
        }
        assertArrayEquals(once.toArray(), often.toArray());
    }

    /** From equal centroids far away only the first is anyone's best: the policies show. */
    @Test
    void emptyClustersStayWhereTheyAreOrAreFilledBySplitting() {
        Tensor rows = rows(false);
        Tensor kept = device.scope().full(1000f, K, D);
        Kmeans.fit(rows, kept, 20, false, Empty.KEEP);
        assertEquals(1, used(rows, kept));
        for (float c : kept.slice(0, 1, K).contiguous().toArray()) {
            assertEquals(1000, c, "an empty centroid is kept");
        }
        Tensor split = device.scope().full(1000f, K, D);
        Kmeans.fit(rows, split, 20, false, Empty.SPLIT);
        assertEquals(K, used(rows, split));
    }

    private static long used(Tensor rows, Tensor centroids) {
        return Arrays.stream(Kmeans.assign(rows, centroids, false).toIntArray()).distinct().count();
    }
}
