// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.factory.DecompositionFactory_DDRM;
import org.ejml.interfaces.decomposition.EigenDecomposition_F64;

/** Principal components: the directions of largest variance. */
public final class Pca {
    private Pca() {}

    /**
     * Projects rows on the leading components.
     *
     * @param rows N rows of equal length D
     * @param components how many; at most D
     * @return N rows of {@code components} coordinates, centred; each component's sign is such that its largest weight is
     *     positive, so that the same rows give the same picture
     */
    public static double[][] project(float[][] rows, int components) {
        int width = rows[0].length;
        double[] mean = new double[width];
        for (float[] row : rows) {
            for (int j = 0; j < width; j++) {
                mean[j] += row[j] / (double) rows.length;
            }
        }
        DMatrixRMaj covariance = new DMatrixRMaj(width, width);
        double[] centred = new double[width];
        for (float[] row : rows) {
            for (int j = 0; j < width; j++) {
                centred[j] = row[j] - mean[j];
            }
            for (int i = 0; i < width; i++) {
                for (int j = 0; j <= i; j++) {
                    covariance.data[i * width + j] += centred[i] * centred[j] / rows.length;
                }
            }
        }
        for (int i = 0; i < width; i++) {
            for (int j = 0; j < i; j++) {
                covariance.data[j * width + i] = covariance.data[i * width + j];
            }
        }
        EigenDecomposition_F64<DMatrixRMaj> eigen = DecompositionFactory_DDRM.eig(width, true, true);
        if (!eigen.decompose(covariance)) {
            throw new IllegalStateException("the covariance has no eigenvectors: are the features finite?");
        }
        int[] order = java.util.stream.IntStream.range(0, width)
                .boxed()
                .sorted((a, b) -> Double.compare(eigen.getEigenvalue(b).getReal(), eigen.getEigenvalue(a).getReal()))
                .mapToInt(Integer::intValue)
                .toArray();
        double[][] projected = new double[rows.length][components];
        for (int c = 0; c < components; c++) {
            double[] direction = eigen.getEigenVector(order[c]).data;
            double largest = 0;
            for (double v : direction) {
                largest = Math.abs(v) > Math.abs(largest) ? v : largest;
            }
            for (int i = 0; i < rows.length; i++) {
                for (int j = 0; j < width; j++) {
                    projected[i][c] += (rows[i][j] - mean[j]) * direction[j] * Math.signum(largest);
                }
            }
        }
        return projected;
    }
}
