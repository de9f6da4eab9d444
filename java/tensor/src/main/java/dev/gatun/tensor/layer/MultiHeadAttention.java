// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.function.Attention;

/**
 * Multi-head self-attention of tokens (B, N, C). Parameters with timm's names: {@code qkv.weight} (3C, C), {@code qkv.bias},
 * {@code proj.weight} (C, C), {@code proj.bias}. Queries, keys and values are views of the one qkv buffer.
 */
public final class MultiHeadAttention implements Layer {
    private final int heads;
    private final Linear qkv;
    private final Linear projection;

    /** With weights normal(.02) and biases of zeros, as vision transformers have them. */
    public MultiHeadAttention(Parameters parameters, int width, int heads, boolean qkvBias) {
        if (width % heads != 0) {
            throw new TensorException("attention: width " + width + " in " + heads + " heads");
        }
        this.heads = heads;
        Initializer weights = Initializer.truncatedNormal(.02f);
        qkv = new Linear(parameters.sub("qkv"), width, 3 * width, qkvBias, weights, Initializer.zeros());
        projection = new Linear(parameters.sub("proj"), width, width, true, weights, Initializer.zeros());
    }

    Linear qkv() {
        return qkv;
    }

    Linear projection() {
        return projection;
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        Tensor parts = qkv.forward(pass, x);
        return project(pass, parts, Attention.self(parts, heads, false));
    }

    /**
     * Tokens of several sequences (T, C), each attending to itself alone.
     *
     * @param offsets i32 (S + 1): where each sequence starts and the last ends
     */
    public Tensor forwardRagged(Pass pass, Tensor x, Tensor offsets) {
        Tensor parts = qkv.forward(pass, x);
        return project(pass, parts, Attention.selfRagged(parts, offsets, heads));
    }

    private Tensor project(Pass pass, Tensor parts, Tensor mixed) {
        Scope.discard(parts, mixed);
        Tensor y = projection.forward(pass, mixed);
        Scope.discard(mixed, y);
        return y;
    }
}
