// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.RandomKey;
import dev.gatun.tensor.Tensor;
import java.util.SplittableRandom;

/** Random numbers into tensors. */
final class Draws {
    private Draws() {}

    static void normal(Tensor t, float std, RandomKey key) {
        SplittableRandom r = new SplittableRandom(key.hashCode());
        float[] v = new float[(int) t.elements()];
        for (int i = 0; i < v.length; i++) {
            v[i] = (float) (std * r.nextGaussian());
        }
        t.copyFrom(v);
    }

    static void uniform(Tensor t, float low, float high, RandomKey key) {
        SplittableRandom r = new SplittableRandom(key.hashCode());
        float[] v = new float[(int) t.elements()];
        for (int i = 0; i < v.length; i++) {
            v[i] = (float) (low + (high - low) * r.nextDouble());
        }
        t.copyFrom(v);
    }
}
