// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.LinearCrossEntropy;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Codes of some views, predicted from all others of the same images (Caron et al., 2020, section 3.1, equation 1).
 *
 * @param assigned the views that have a code, one at least
 * @param views how many there are, two at least
 * @param temperature of the predictions
 */
record SwappedPrediction(List<Integer> assigned, int views, float temperature) {
    /**
     * The mean cross-entropy over all pairs of a code and another view.
     *
     * @param z f32 (views · B, D): normalised features, view by view
     * @param prototypes f32 (K, D)
     * @param scores f32 (B, K) of each assigned view: its rows' products with the prototypes, without a gradient; may be overwritten
     * @param codes f32 (B, K) of each assigned view, without a gradient
     * @return a scalar
     */
    Tensor loss(Tensor z, Tensor prototypes, List<Tensor> scores, List<Tensor> codes) {
        Tensor loss = null;
        for (int v = 0, many = 1; v < views; v += many, many = 1) {
            int own = assigned.indexOf(v);
            // Neighbours that predict the same codes do so together.
            while (own < 0 && v + many < views && !assigned.contains(v + many)) {
                many++;
            }
            Tensor targets = sum(codes, own);
            if (targets != null) {
                Tensor term = LinearCrossEntropy.apply(
                        rows(z, v, many), prototypes, targets, temperature, own < 0 ? null : scores.get(own));
                term = many == 1 ? term : term.mul(many);
                loss = loss == null ? term : loss.add(term);
            }
        }
        return loss.mul(1f / (assigned.size() * (views - 1)));
    }

    /** Rows of neighbouring views. */
    Tensor rows(Tensor z, int first, int many) {
        long batch = z.size(0) / views;
        return z.slice(0, first * batch, (first + many) * batch);
    }

    // Cross-entropy is linear in its targets: the codes of all assigned views but one's own are predicted at once.
    private static @Nullable Tensor sum(List<Tensor> codes, int own) {
        Tensor sum = null;
        for (int i = 0; i < codes.size(); i++) {
            if (i != own) {
                sum = sum == null ? codes.get(i) : sum.add(codes.get(i));
            }
        }
        return sum;
    }
}
