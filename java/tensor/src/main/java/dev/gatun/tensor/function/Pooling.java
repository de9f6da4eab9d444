// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Pooling.Window;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/** Maximum and average over windows of channels-last images (B, H, W, C). */
public final class Pooling {
    private Pooling() {}

    /** The largest value of each window; a NaN gives NaN. */
    public static Tensor max(Tensor x, Window window) {
        return Function.apply(new Max(window), x);
    }

    /** The mean of each window; padding counts as zeros if {@code countIncludePad}, else not at all. */
    public static Tensor average(Tensor x, Window window, boolean countIncludePad) {
        return Function.apply(new Average(window, countIncludePad), x);
    }

    /** The mean of the whole image: (B, H, W, C) to (B, C). */
    public static Tensor globalAverage(Tensor x) {
        images(x);
        Tensor y = average(x, Window.global(x.size(1), x.size(2)), false);
        return y.reshape(x.size(0), x.size(3));
    }

    private static Tensor images(Tensor x) {
        if (x.rank() != 4) {
            throw new TensorException("pooling: needs images (B, H, W, C), given " + x.describe());
        }
        return x;
    }

    static long[] outputShape(Tensor x, Window window) {
        images(x);
        long height = window.outputHeight(x.size(1));
        long width = window.outputWidth(x.size(2));
        if (height < 1 || width < 1) {
            throw new TensorException("pooling: the window " + window + " is larger than " + x.describe());
        }
        return new long[] {x.size(0), height, width, x.size(3)};
    }

    private record Max(Window window) implements Function {
        @Override
        public String name() {
            return "max pooling";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            long[] shape = outputShape(in[0], window);
            Tensor y = c.empty(in[0].dtype(), shape);
            Tensor argmax = c.scope().empty(DType.I32, shape);
            dev.gatun.primitives.Pooling.max(c.stream(), c.channels(in[0]).operand(), y.operand(), argmax.operand(), window);
            c.save(argmax);
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor dx = c.empty(c.inputType(0), c.inputShape(0));
            dev.gatun.primitives.Pooling.maxBackward(
                    c.stream(), c.dense(g[0]).operand(), c.saved(0).operand(), dx.operand(), window);
            return new Tensor[] {dx};
        }
    }

    private record Average(Window window, boolean countIncludePad) implements Function {
        @Override
        public String name() {
            return "average pooling";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = c.empty(in[0].dtype(), outputShape(in[0], window));
            dev.gatun.primitives.Pooling.average(c.stream(), c.channels(in[0]).operand(), y.operand(), window, countIncludePad);
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor dx = c.empty(c.inputType(0), c.inputShape(0));
            dev.gatun.primitives.Pooling.averageBackward(
                    c.stream(), c.dense(g[0]).operand(), dx.operand(), window, countIncludePad);
            return new Tensor[] {dx};
        }
    }
}
