// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Tensor;
import java.util.List;

/** Updates parameters from their gradients. */
public interface Optimizer {
    /** One update with the gradients accumulated so far; does not clear them. */
    void step(float learningRate);

    /**
     * As {@link #step(float)} with a learning rate that lies on the device, so that a recorded step can be launched with another.
     *
     * @param learningRate f32 (1)
     */
    default void step(Tensor learningRate) {
        step(learningRate.item());
    }

    /** The optimizer's own tensors in order, for the checkpoint; restoring them restores the optimizer. */
    List<NamedTensor> state();
}
