// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.tensor.Tensor;

/**
 * Frozen features of some samples.
 *
 * @param values (N, D), f32, contiguous
 * @param labels one a row, in [0, classes); -1 = none, such rows are left out of fits and scores
 * @param classes the number of classes
 */
public record Features(Tensor values, int[] labels, int classes) {
    /** Checks that the sizes agree. */
    public Features {
        if (values.rank() != 2 || values.size(0) != labels.length) {
            throw new IllegalArgumentException(labels.length + " labels for features of shape "
                    + java.util.Arrays.toString(values.shape()));
        }
    }

    /** The number of samples. */
    public int count() {
        return labels.length;
    }

    /** The length of a feature vector. */
    public int width() {
        return (int) values.size(1);
    }
}
