// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.util.List;

/** One layer after the other; what one hands to the next is nobody else's. */
public final class Sequential implements Layer {
    private final List<Layer> layers;

    /** The first layer gets the input. */
    public Sequential(Layer... layers) {
        this(List.of(layers));
    }

    /** The first layer gets the input. */
    public Sequential(List<? extends Layer> layers) {
        this.layers = List.copyOf(layers);
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        Tensor y = x;
        for (Layer layer : layers) {
            Tensor next = layer.forward(pass, y);
            Scope.discard(y, next, x);
            y = next;
        }
        return y;
    }
}
