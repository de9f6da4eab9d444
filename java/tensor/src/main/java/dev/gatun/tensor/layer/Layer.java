// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;

/** A function with parameters. Layers are made once with a part of a {@link Parameters}, and hold no other state. */
@FunctionalInterface
public interface Layer {
    /** The result for one batch; the first dimension is the batch. */
    Tensor forward(Pass pass, Tensor x);
}
