// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Pass;

/** A method that assigns samples to prototypes; reports then show what each prototype stands for. */
public interface PrototypeMethod extends Method {
    /**
     * The prototypes.
     *
     * @param scope where the result lives
     * @return (K, D), rows of unit length
     */
    Tensor prototypes(Scope scope);

    /**
     * The embedding that is compared with the prototypes.
     *
     * @param pass an inference pass
     * @param features the encoder's output, (B, features)
     * @return (B, D), rows of unit length
     */
    Tensor embed(Pass pass, Tensor features);
}
