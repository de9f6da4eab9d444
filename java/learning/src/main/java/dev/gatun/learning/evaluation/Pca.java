// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.tensor.Tensor;
import java.util.stream.IntStream;
import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.factory.DecompositionFactory_DDRM;
import org.ejml.interfaces.decomposition.EigenDecomposition_F64;

/** Principal components: the directions of largest variance. */
public final class Pca {
    // directions with less of the largest variance are rounding, not data
    private static final double NOISE = 1e-6;

    private Pca() {}

    /**
     * Projects rows on the leading components.
     *
     * @param rows (N, D)
     * @param components how many; at most D
     * @return (N, components), centred; each component's sign is such that its largest weight is positive, so that the same rows
     *     give the same picture
     */
    public static Tensor project(Tensor rows, int components) {
        return transform(rows, components, false);
    }

    /**
     * Projects rows on the leading components and gives each unit variance (PCA whitening). A component without variance stays
     * at 0.
     *
     * @param rows (N, D)
     * @param components how many; at most D
     * @return (N, components), centred
     */
    public static Tensor whiten(Tensor rows, int components) {
        return transform(rows, components, true);
    }

    private static Tensor transform(Tensor rows, int components, boolean whiten) {
        int width = (int) rows.size(1);
        if (components < 1 || components > width) {
            throw new IllegalArgumentException("PCA: " + components + " components of rows of length " + width);
        }
        Tensor centred = rows.sub(rows.mean(0).reshape(1, width));
        float[] products = centred.transpose().matmul(centred).toArray();
        DMatrixRMaj covariance = new DMatrixRMaj(width, width);
        for (int i = 0; i < products.length; i++) {
            // the mean of the two halves: the decomposition wants exact symmetry
            covariance.data[i] = .5 * (products[i] + products[i % width * width + i / width]) / rows.size(0);
        }
        EigenDecomposition_F64<DMatrixRMaj> eigen = DecompositionFactory_DDRM.eig(width, true, true);
        if (!eigen.decompose(covariance)) {
            throw new IllegalStateException("the covariance has no eigenvectors: are the features finite?");
        }
        int[] order = IntStream.range(0, width)
                .boxed()
                .sorted((a, b) -> Double.compare(eigen.getEigenvalue(b).getReal(), eigen.getEigenvalue(a).getReal()))
                .mapToInt(Integer::intValue)
                .toArray();
        double most = eigen.getEigenvalue(order[0]).getReal();
        float[] directions = new float[width * components];
        for (int c = 0; c < components; c++) {
            double[] direction = eigen.getEigenVector(order[c]).data;
            double variance = eigen.getEigenvalue(order[c]).getReal();
            double scale = Math.signum(largest(direction));
            if (whiten) {
                scale *= variance > NOISE * most ? 1 / Math.sqrt(variance) : 0;
            }
            for (int j = 0; j < width; j++) {
                directions[j * components + c] = (float) (scale * direction[j]);
            }
        }
        return centred.matmul(rows.scope().of(directions, width, components));
    }

    private static double largest(double[] direction) {
        double largest = 0;
        for (double v : direction) {
            largest = Math.abs(v) > Math.abs(largest) ? v : largest;
        }
        return largest;
    }
}
