// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.tensor.layer.BatchNorm;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Linear;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Sequential;
import java.util.ArrayList;
import java.util.List;

/** Projection heads that methods share. */
public final class Heads {
    private Heads() {}

    /**
     * Linear, batch norm, ReLU for every hidden layer, then a linear layer; with PyTorch's names (0, 1, 3, ...).
     *
     * @param parameters where the head's parameters go
     * @param input width of the features
     * @param hidden widths of the hidden layers
     * @param output width of the embedding
     */
    public static Layer projection(Parameters parameters, int input, List<Integer> hidden, int output) {
        List<Layer> layers = new ArrayList<>();
        int width = input;
        int index = 0;
        for (int next : hidden) {
            layers.add(new Linear(parameters.sub("" + index), width, next, true));
            // the ReLU, number index + 2, is fused into the batch norm
            layers.add(new BatchNorm(parameters.sub("" + (index + 1)), next, true));
            width = next;
            index += 3;
        }
        layers.add(new Linear(parameters.sub("" + index), width, output, true));
        return new Sequential(layers);
    }
}
