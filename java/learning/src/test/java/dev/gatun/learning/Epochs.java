// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Pass;
import java.util.Map;

/** Epochs for tests of methods on their own. */
public final class Epochs {
    private Epochs() {}

    /** The images of all training samples. */
    public interface Images {
        /** (N, H, W, C): of view {@code view}, or plain ones for -1. */
        Tensor of(Scope scope, int view, RandomKey key);
    }

    /** An epoch whose samples are given as images. */
    public static Epoch of(int index, Scope scope, long seed, int samples, int[] labels, Images images) {
        return new Epoch(index, index + 1, scope, new RandomKey(seed, index, 77), new Epoch.Samples() {
            @Override
            public int size() {
                return samples;
            }

            @Override
            public int[] labels() {
                return labels;
            }

            @Override
            public Tensor features(Scope inner, Layer network, int view, RandomKey key) {
                Pass pass = view < 0 ? Pass.inference(inner) : Pass.trainingWithoutGradient(inner, key);
                return network.forward(pass, images.of(inner, view, key));
            }
        });
    }

    /** What was logged. */
    public static Map<String, Double> metrics(Epoch epoch) {
        return epoch.metrics();
    }
}
