// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.tensor.layer.BatchNorm;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Linear;
import dev.gatun.tensor.layer.MixedPrecision;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Relu;
import dev.gatun.tensor.layer.Sequential;
import java.util.ArrayList;
import java.util.List;

/**
 * Projection heads that methods share, with PyTorch's names: layers are numbered as in its {@code Sequential}. A head computes in its pass's
 * precision and gives f32.
 */
public final class Heads {
    private Heads() {}

    /**
     * Linear, batch norm, ReLU for every hidden layer, then a linear layer.
     *
     * @param parameters where the head's parameters go
     * @param input width of the features
     * @param hidden widths of the hidden layers
     * @param output width of the embedding
     */
    public static Layer projection(Parameters parameters, int input, List<Integer> hidden, int output) {
        return projection(parameters, input, hidden, output, true);
    }

    /**
     * As {@link #projection(Parameters, int, List, int)}.
     *
     * @param bias whether linear layers have one; before a batch norm it changes nothing
     */
    public static Layer projection(Parameters parameters, int input, List<Integer> hidden, int output, boolean bias) {
        return MixedPrecision.of(new Sequential(layers(parameters, input, hidden, output, bias)));
    }

    /**
     * As {@link #projection(Parameters, int, List, int)}, with a batch norm on the output as well; no layer before a batch norm
     * has a bias.
     */
    public static Layer normalisedProjection(Parameters parameters, int input, List<Integer> hidden, int output) {
        List<Layer> layers = layers(parameters, input, hidden, output, false);
        layers.add(new BatchNorm(parameters.sub("" + (3 * hidden.size() + 1)), output, false));
        return MixedPrecision.of(new Sequential(layers));
    }

    private static List<Layer> layers(Parameters parameters, int input, List<Integer> hidden, int output, boolean bias) {
        List<Layer> layers = new ArrayList<>();
        int width = input;
        int index = 0;
        for (int next : hidden) {
            layers.add(new Linear(parameters.sub("" + index), width, next, bias));
            // the ReLU, number index + 2, is fused into the batch norm
            layers.add(new BatchNorm(parameters.sub("" + (index + 1)), next, true));
            width = next;
            index += 3;
        }
        layers.add(new Linear(parameters.sub("" + index), width, output, bias));
        return layers;
    }

    /** Linear and ReLU for every hidden layer, then a linear layer: no statistics of the batch. */
    public static Layer perceptron(Parameters parameters, int input, List<Integer> hidden, int output) {
        List<Layer> layers = new ArrayList<>();
        int width = input;
        for (int next : hidden) {
            layers.add(new Linear(parameters.sub("" + layers.size()), width, next, true));
            layers.add(new Relu());
            width = next;
        }
        layers.add(new Linear(parameters.sub("" + layers.size()), width, output, true));
        return MixedPrecision.of(new Sequential(layers));
    }
}
