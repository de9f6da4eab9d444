// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/**
 * Fills a parameter once, at {@link Parameters#build}. The key is made of the run's seed and the parameter's name, so initial
 * weights depend neither on the order in which parameters are made nor on what else the network has.
 */
@FunctionalInterface
public interface Initializer {
    /** Overwrites {@code target} (contiguous f32) with initial values. */
    void fill(Tensor target, RandomKey key);

    /** Zeros. */
    static Initializer zeros() {
        return constant(0f);
    }

    /** Ones. */
    static Initializer ones() {
        return constant(1f);
    }

    /** One value everywhere. */
    static Initializer constant(float value) {
        return (t, key) -> t.fill(value);
    }

    /** Normal with mean 0. */
    static Initializer normal(float std) {
        return (t, key) -> Draws.normal(t, std, key);
    }

    /**
     * timm's trunc_normal_: a normal cut at ±2 <em>absolute</em>, so that at its usual .02 nothing is ever cut. This
     * implementation relies on that and allows std up to .25, where the cut is at 8 standard deviations.
     */
    static Initializer truncatedNormal(float std) {
        if (!(std > 0 && std <= .25f)) {
            throw new TensorException("truncatedNormal: std " + std + " is not in (0, .25]");
        }
        return normal(std);
    }

    /** Uniform in [−bound, bound). */
    static Initializer uniform(float bound) {
        return (t, key) -> Draws.uniform(t, -bound, bound, key);
    }

    /** He et al.'s normal for ReLU: std = √(2 / fan-in). */
    static Initializer kaimingNormal() {
        return (t, key) -> Draws.normal(t, (float) Math.sqrt(2.0 / fanIn(t)), key);
    }

    /** As {@link #kaimingNormal} with the fan-out, as residual networks' convolutions use. */
    static Initializer kaimingNormalFanOut() {
        return (t, key) -> Draws.normal(t, (float) Math.sqrt(2.0 / fanOut(t)), key);
    }

    /** Uniform in ±1/√fan-in: what PyTorch gives the weights of linear and convolution layers by default. */
    static Initializer fanInUniform() {
        return (t, key) -> {
            float bound = (float) (1 / Math.sqrt(fanIn(t)));
            Draws.uniform(t, -bound, bound, key);
        };
    }

    /** Glorot and Bengio's uniform: ±√(6 / (fan-in + fan-out)). */
    static Initializer xavierUniform() {
        return (t, key) -> {
            float bound = (float) Math.sqrt(6.0 / (fanIn(t) + fanOut(t)));
            Draws.uniform(t, -bound, bound, key);
        };
    }

    /** Inputs of one output: every dimension but the first, for (out, in) and (out, h, w, in) alike. */
    static long fanIn(Tensor weight) {
        return Math.max(1, weight.elements() / Math.max(1, weight.size(0)));
    }

    /** Outputs that one input reaches: every dimension but the last. */
    static long fanOut(Tensor weight) {
        return Math.max(1, weight.elements() / Math.max(1, weight.size(-1)));
    }
}
