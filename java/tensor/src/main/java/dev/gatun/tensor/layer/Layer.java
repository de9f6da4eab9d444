// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;
import java.util.List;

/** A function with parameters. Layers are made once with a part of a {@link Parameters}, and hold no other state. */
@FunctionalInterface
public interface Layer {
    /** The result for one batch; the first dimension is the batch. */
    Tensor forward(Pass pass, Tensor x);

    /**
     * The results of several batches that differ in the size of what is in them, such as crops of several resolutions. Here each batch goes
     * through on its own, one after the other; a layer that can take them together gives the same but for rounding, and draws the same.
     *
     * @param batches at least one
     * @return the batches' results one after the other along the first dimension
     */
    default Tensor forwardAll(Pass pass, List<Tensor> batches) {
        List<Tensor> results = batches.stream().map(x -> forward(pass, x)).toList();
        return results.size() == 1 ? results.getFirst() : Tensor.concat(0, results.toArray(Tensor[]::new));
    }
}
