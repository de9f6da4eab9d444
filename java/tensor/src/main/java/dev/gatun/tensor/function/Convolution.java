// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.ConvolutionLibrary;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import org.jspecify.annotations.Nullable;

/** Two-dimensional convolution of channels-last images, with any stride, padding, dilation and groups. */
public final class Convolution implements Function {
    private final Geometry geometry;

    private Convolution(Geometry geometry) {
        this.geometry = geometry;
    }

    /**
     * Without bias.
     *
     * @param x (B, H, W, C); f32, or on a CUDA device bf16 or f16, as the weights and the result
     * @param weight (O, KH, KW, C / groups)
     * @return (B, OH, OW, O)
     */
    public static Tensor apply(Tensor x, Tensor weight, Geometry geometry) {
        check(x, weight);
        return Function.apply(new Convolution(geometry), x, weight);
    }

    /** With an f32 bias (O). */
    public static Tensor apply(Tensor x, Tensor weight, Tensor bias, Geometry geometry) {
        check(x, weight);
        return Function.apply(new Convolution(geometry), x, weight, bias);
    }

    private static void check(Tensor x, Tensor weight) {
        if (x.rank() != 4 || weight.rank() != 4) {
            throw new TensorException("convolution: needs images (B, H, W, C) and weights (O, KH, KW, C), given " + x.describe()
                    + " and " + weight.describe());
        }
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor x = c.channels(in[0]);
        Tensor w = in[1];
        c.save(x, w);
        long height = geometry.outputHeight(x.size(1), w.size(1));
        long width = geometry.outputWidth(x.size(2), w.size(2));
        if (height < 1 || width < 1) {
            throw new TensorException("convolution: the kernel " + w.describe() + " is larger than the padded " + x.describe());
        }
        Tensor y = c.empty(x.dtype(), x.size(0), height, width, w.size(0));
        Operand bias = in.length > 2 ? in[2].operand() : Operand.NONE;
        ConvolutionLibrary library = c.device().convolution();
        try (Scope work = c.scope().open()) {
            long bytes = library.forwardWorkspace(
                    c.stream(), x.operand(), w.operand(), bias, y.operand(), geometry);
            library.forward(
                    c.stream(),
                    x.operand(),
                    w.operand(),
                    bias,
                    y.operand(),
                    geometry,
                    work.workspace(bytes));
        }
        return y;
    }

    @Override
    public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        Tensor dy = c.dense(g[0]);
        Tensor[] gradients = new Tensor[c.inputs()];
        // the weights first: their workspace, and an input that was computed again, are gone before dx needs memory
        if (c.needsGradient(1) || c.inputs() > 2 && c.needsGradient(2)) {
            weightGradients(c, dy, gradients);
            c.forget(0);
        }
        if (c.needsGradient(0)) {
            inputGradient(c, dy, gradients);
        }
        return gradients;
    }

    private void weightGradients(FunctionContext c, Tensor dy, @Nullable Tensor[] gradients) {
        ConvolutionLibrary library = c.device().convolution();
        Tensor x = c.saved(0);
        boolean bias = c.inputs() > 2 && c.needsGradient(2);
        Tensor weightSum = sum(c, 1);
        Tensor biasSum = bias ? sum(c, 2) : null;
        boolean accumulate = weightSum != null && (!bias || biasSum != null);
        Tensor dw = accumulate ? weightSum : c.empty(c.inputShape(1));
        Tensor db = accumulate || !bias ? biasSum : c.empty(c.inputShape(2));
        Operand dbias = db == null ? Operand.NONE : db.operand();
        try (Scope work = c.scope().open()) {
            long bytes = library.backwardWeightsWorkspace(c.stream(), x.operand(), dy.operand(), dw.operand(), dbias, geometry);
            library.backwardWeights(
                    c.stream(), x.operand(), dy.operand(), dw.operand(), dbias, geometry, accumulate, work.workspace(bytes));
        }
        if (accumulate) {
            return;
        }
        // of weights that were computed, as against watched, the gradient is stored as they are
        gradients[1] = dw.to(c.gradientType(1));
        if (bias) {
            gradients[2] = db;
        }
    }

    private void inputGradient(FunctionContext c, Tensor dy, @Nullable Tensor[] gradients) {
        ConvolutionLibrary library = c.device().convolution();
        Tensor sum = c.inputType(0) == DType.F32 ? sum(c, 0) : null;
        Tensor dx = sum == null ? c.empty(c.inputType(0), c.inputShape(0)) : sum;
        Tensor w = c.saved(1);
        try (Scope work = c.scope().open()) {
            long bytes = library.backwardDataWorkspace(c.stream(), dy.operand(), w.operand(), dx.operand(), geometry);
            library.backwardData(
                    c.stream(), dy.operand(), w.operand(), dx.operand(), geometry, sum != null, work.workspace(bytes));
        }
        gradients[0] = sum == null ? dx : null;
    }

    /** What the gradient of an input is added to without a pass over memory of its own; null where there is nothing, or it cannot be. */
    private @Nullable Tensor sum(FunctionContext c, int input) {
        Tensor sum = c.accumulator(input);
        boolean fits = sum != null && sum.dtype() == DType.F32 && sum.isContiguous();
        return fits && c.device().convolution().accumulates(c.stream(), geometry) ? sum : null;
    }
}
