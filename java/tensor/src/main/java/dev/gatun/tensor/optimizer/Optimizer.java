// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.tensor.NamedTensor;
import java.util.List;

/** Updates parameters from their gradients. */
public interface Optimizer {
    /** One update with the gradients accumulated so far; does not clear them. */
    void step(float learningRate);

    /** The optimizer's own tensors in order, for the checkpoint; restoring them restores the optimizer. */
    List<NamedTensor> state();
}
