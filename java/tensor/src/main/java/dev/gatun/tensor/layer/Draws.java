// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Random;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;

/** Random numbers into whole tensors: element i is draw i of sample 0 under the key. */
final class Draws {
    private Draws() {}

    static void normal(Tensor t, float std, RandomKey key) {
        try (Scope scope = t.device().scope().open()) {
            Random.normal(t.device().stream(), scope.key(key), Operand.NONE, 0, t.reshape(-1).operand(), 0f, std);
        }
        t.written();
    }

    static void uniform(Tensor t, float low, float high, RandomKey key) {
        try (Scope scope = t.device().scope().open()) {
            Random.uniform(t.device().stream(), scope.key(key), Operand.NONE, 0, t.reshape(-1).operand(), low, high);
        }
        t.written();
    }
}
