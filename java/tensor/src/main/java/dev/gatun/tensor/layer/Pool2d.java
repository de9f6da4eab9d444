// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.Pooling.Window;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.Pooling;

/** Pooling of images (B, H, W, C) as a layer. */
public final class Pool2d implements Layer {
    private final Layer pool;

    private Pool2d(Layer pool) {
        this.pool = pool;
    }

    /** The largest value of each window. */
    public static Pool2d max(int size, int stride, int padding) {
        Window window = Window.of(size, stride, padding);
        return new Pool2d((pass, x) -> Pooling.max(x, window));
    }

    /** The mean of each window; padding counts as zeros. */
    public static Pool2d average(int size, int stride, int padding) {
        Window window = Window.of(size, stride, padding);
        return new Pool2d((pass, x) -> Pooling.average(x, window, true));
    }

    /** The mean of the whole image: (B, C). */
    public static Pool2d globalAverage() {
        return new Pool2d((pass, x) -> Pooling.globalAverage(x));
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return pool.forward(pass, x);
    }
}
