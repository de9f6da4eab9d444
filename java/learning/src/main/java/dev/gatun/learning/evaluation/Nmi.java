// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

/** Normalised mutual information of two clusterings of the same samples. */
public final class Nmi {
    private Nmi() {}

    /**
     * I(a; b) divided by the arithmetic mean of the entropies.
     *
     * @param a one cluster id a sample, from 0
     * @param b likewise, of the same length
     * @return in [0, 1]; 1 if each determines the other (two clusterings with a single cluster included)
     */
    public static double of(int[] a, int[] b) {
        if (a.length != b.length || a.length == 0) {
            throw new IllegalArgumentException("clusterings of " + a.length + " and " + b.length + " samples");
        }
        int width = max(b) + 1;
        double[] rows = new double[max(a) + 1];
        double[] columns = new double[width];
        double[][] joint = new double[rows.length][width];
        double share = 1.0 / a.length;
        for (int i = 0; i < a.length; i++) {
            joint[a[i]][b[i]] += share;
            rows[a[i]] += share;
            columns[b[i]] += share;
        }
        double information = 0;
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j < width; j++) {
                if (joint[i][j] > 0) {
                    information += joint[i][j] * Math.log(joint[i][j] / (rows[i] * columns[j]));
                }
            }
        }
        double entropies = entropy(rows) + entropy(columns);
        return entropies == 0 ? 1 : Math.clamp(2 * information / entropies, 0, 1);
    }

    private static int max(int[] ids) {
        int max = 0;
        for (int id : ids) {
            if (id < 0) {
                throw new IllegalArgumentException("a cluster id of " + id);
            }
            max = Math.max(max, id);
        }
        return max;
    }

    private static double entropy(double[] shares) {
        double entropy = 0;
        for (double share : shares) {
            entropy -= share > 0 ? share * Math.log(share) : 0;
        }
        return entropy;
    }
}
