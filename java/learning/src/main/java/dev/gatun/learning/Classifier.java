// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Pass;

/** A method that learns to predict the classes of the labels; runs then report its own accuracy beside that of frozen features. */
public interface Classifier extends Method {
    @Override
    default boolean usesLabels() {
        return true;
    }

    /**
     * The predictions for encoded images.
     *
     * @param pass an inference pass
     * @param features the encoder's output, (B, features)
     * @return (B, classes), before the softmax
     */
    Tensor logits(Pass pass, Tensor features);
}
