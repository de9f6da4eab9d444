// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.data.View;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Pass;
import java.util.ArrayList;
import java.util.List;

/** All views of a batch through one network. */
public final class MultiView {
    private MultiView() {}

    /**
     * Encodes the views, one pass for each resolution: consecutive views of one size share it, and its batch statistics.
     *
     * @param encoder from (B, H, W, C) to (B, D)
     * @param batch V views of B samples
     * @param pass the step's pass
     * @return (V·B, D), view-major: row v·B + b is view v of sample b
     */
    public static Tensor encode(Layer encoder, Batch batch, Pass pass) {
        List<View> views = batch.views();
        List<Tensor> features = new ArrayList<>();
        for (int from = 0, to; from < views.size(); from = to) {
            to = from + 1;
            while (to < views.size() && views.get(to).size() == views.get(from).size()) {
                to++;
            }
            features.add(encoder.forward(pass, concat(views.subList(from, to).stream().map(View::images).toList())));
        }
        return concat(features);
    }

    private static Tensor concat(List<Tensor> parts) {
        return parts.size() == 1 ? parts.getFirst() : Tensor.concat(0, parts.toArray(Tensor[]::new));
    }

    /**
     * Numbers of the samples, once for each view.
     *
     * @param numbers one a sample
     * @param views how many views
     * @return (V·B), view-major
     */
    static int[] repeat(int[] numbers, int views) {
        int[] all = new int[numbers.length * views];
        for (int v = 0; v < views; v++) {
            System.arraycopy(numbers, 0, all, v * numbers.length, numbers.length);
        }
        return all;
    }
}
