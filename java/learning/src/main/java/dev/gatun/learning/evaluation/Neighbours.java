// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * The k nearest rows of a bank by cosine, exactly: block by block a matrix product, then the best k so far of every query.
 * Nearest first; of equal ones the lower index first.
 */
public final class Neighbours {
    // a block of similarities that the last-level cache holds while it is searched
    private static final int QUERIES = 512;
    private static final int BANK = 4096;

    private final int k;
    private final int[][] indices;
    private final float[][] cosines;

    private Neighbours(int queries, int k) {
        this.k = k;
        indices = new int[queries][k];
        cosines = new float[queries][k];
        for (float[] row : cosines) {
            Arrays.fill(row, Float.NEGATIVE_INFINITY);
        }
    }

    /**
     * Searches.
     *
     * @param bank (N, D)
     * @param queries (Q, D)
     * @param k how many neighbours; at most N
     */
    public static Neighbours search(Tensor bank, Tensor queries, int k) {
        int count = (int) queries.size(0);
        int size = (int) bank.size(0);
        if (k < 1 || k > size) {
            throw new IllegalArgumentException(k + " neighbours of a bank of " + size);
        }
        Neighbours found = new Neighbours(count, k);
        try (Scope scope = bank.device().scope().open()) {
            Tensor unitBank = bank.copy(scope);
            Tensor unitQueries = queries.copy(scope);
            Rows.normalise(unitBank);
            Rows.normalise(unitQueries);
            for (int q = 0; q < count; q += QUERIES) {
                Tensor block = unitQueries.slice(0, q, Math.min(q + QUERIES, count));
                for (int b = 0; b < size; b += BANK) {
                    try (Scope inner = scope.open()) {
                        Tensor part = unitBank.slice(0, b, Math.min(b + BANK, size));
                        found.merge(inner.attach(block).matmulTransposed(part), q, b);
                    }
                }
            }
        }
        return found;
    }

    /** The neighbours of a query, nearest first. */
    public int[] indices(int query) {
        return indices[query];
    }

    /** Their cosines. */
    public float[] cosines(int query) {
        return cosines[query];
    }

    private void merge(Tensor similarities, int firstQuery, int firstRow) {
        int width = (int) similarities.size(1);
        MemorySegment data = similarities.segment();
        Rows.parallel(similarities.device().threads(), (int) similarities.size(0), (from, to) -> {
            float[] row = new float[width];
            for (int i = from; i < to; i++) {
                Rows.read(data, i, row, width);
                merge(row, firstRow, cosines[firstQuery + i], indices[firstQuery + i]);
            }
        });
    }

    private void merge(float[] row, int firstRow, float[] best, int[] who) {
        float worst = best[k - 1];
        for (int j = 0; j < row.length; j++) {
            float value = row[j];
            if (value > worst) {
                int at = k - 1;
                while (at > 0 && best[at - 1] < value) {
                    best[at] = best[at - 1];
                    who[at] = who[at - 1];
                    at--;
                }
                best[at] = value;
                who[at] = firstRow + j;
                worst = best[k - 1];
            }
        }
    }
}
