// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Kmeans.Empty;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/** Clustering of rows by k-means (Lloyd, 1982), plain or spherical. There is no gradient. */
public final class Kmeans {
    private Kmeans() {}

    /**
     * The best centroid of each row, of equally good ones that with the lowest index; −1 for a row with a NaN.
     *
     * @param rows (N, D)
     * @param centroids (K, D)
     * @param spherical whether the largest dot product wins instead of the smallest distance
     * @return i32 (N), in the youngest scope of the two
     */
    public static Tensor assign(Tensor rows, Tensor centroids, boolean spherical) {
        check(rows, centroids);
        Scope scope = youngest(rows, centroids);
        Tensor assignment = scope.empty(DType.I32, rows.size(0));
        try (Scope work = scope.open()) {
            assign(rows, centroids, assignment, spherical, work);
        }
        return assignment;
    }

    private static void assign(Tensor rows, Tensor centroids, Tensor assignment, boolean spherical, Scope work) {
        GatunStream stream = work.device().stream();
        Tensor score = work.empty(rows.size(0));
        long bytes = dev.gatun.primitives.Kmeans.assignWorkspace(
                stream, rows.operand(), centroids.operand(), assignment.operand(), score.operand());
        dev.gatun.primitives.Kmeans.assign(
                stream,
                rows.operand(),
                centroids.operand(),
                assignment.operand(),
                score.operand(),
                spherical,
                work.workspace(bytes));
    }

    /**
     * Moves the centroids: {@code iterations} times assigns the rows and makes each centroid the mean of its own.
     *
     * @param rows (N, D)
     * @param centroids (K, D), overwritten; what they hold is the start
     * @param spherical whether similarity is the dot product and centroids get unit length
     * @param empty what becomes of a centroid without rows
     */
    public static void fit(Tensor rows, Tensor centroids, int iterations, boolean spherical, Empty empty) {
        check(rows, centroids);
        GatunStream stream = rows.device().stream();
        for (int i = 0; i < iterations; i++) {
            try (Scope work = youngest(rows, centroids).open()) {
                Tensor assignment = work.empty(DType.I32, rows.size(0));
                assign(rows, centroids, assignment, spherical, work);
                Tensor sums = work.empty(centroids.shape());
                Tensor counts = work.empty(DType.I64, centroids.size(0));
                long bytes = dev.gatun.primitives.Kmeans.sumsWorkspace(
                        stream, rows.operand(), assignment.operand(), sums.operand(), counts.operand());
                dev.gatun.primitives.Kmeans.sums(
                        stream,
                        rows.operand(),
                        assignment.operand(),
                        sums.operand(),
                        counts.operand(),
                        work.workspace(bytes));
                dev.gatun.primitives.Kmeans.update(
                        stream, sums.operand(), counts.operand(), centroids.operand(), spherical, empty);
            }
            centroids.written();
        }
    }

    private static Scope youngest(Tensor rows, Tensor centroids) {
        return Scope.youngest(rows.scope(), centroids.scope());
    }

    private static void check(Tensor rows, Tensor centroids) {
        if (rows.rank() != 2 || centroids.rank() != 2 || rows.size(1) != centroids.size(1) || centroids.size(0) < 1) {
            throw new TensorException("k-means: rows " + rows.describe() + ", centroids " + centroids.describe());
        }
    }
}
