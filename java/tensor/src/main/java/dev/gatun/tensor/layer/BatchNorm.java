// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.Pooling.Window;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.function.Pooling;
import dev.gatun.tensor.function.PooledBatchNorm;
import dev.gatun.tensor.function.RunningStatistics;
import dev.gatun.tensor.function.StochasticDepth;

/**
 * Batch normalisation over all dimensions but the last. Parameters {@code weight}, {@code bias}; state {@code running_mean},
 * {@code running_var}. A training pass uses the batch's statistics and updates the running ones, an inference pass uses those.
 */
public final class BatchNorm implements Layer {
    /** Share of the batch in the running statistics. */
    public static final float MOMENTUM = .1f;

    /** Added to the variance. */
    public static final double EPSILON = 1e-5;

    private final Parameter weight;
    private final Parameter bias;
    private final State runningMean;
    private final State runningVariance;
    private final boolean relu;

    /** Without a ReLU; weights of ones, biases of zeros. */
    public BatchNorm(Parameters parameters, int channels) {
        this(parameters, channels, false);
    }

    /** @param relu whether a ReLU follows in the same pass over memory */
    public BatchNorm(Parameters parameters, int channels, boolean relu) {
        this(parameters, channels, relu, Initializer.ones());
    }

    /** @param scale initial weights: zeros for the last normalisation of a residual branch that starts as the identity */
    public BatchNorm(Parameters parameters, int channels, boolean relu, Initializer scale) {
        weight = parameters.parameter("weight", scale, channels);
        bias = parameters.parameter("bias", Initializer.zeros(), channels);
        runningMean = parameters.state("running_mean", 0f, channels);
        runningVariance = parameters.state("running_var", 1f, channels);
        this.relu = relu;
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        Tensor gamma = pass.use(weight);
        Tensor beta = pass.use(bias);
        return pass.training()
                ? dev.gatun.tensor.function.BatchNorm.apply(x, gamma, beta, running(), relu)
                : dev.gatun.tensor.function.BatchNorm.inference(x, gamma, beta, running(), relu);
    }

    /**
     * The maxima of windows of this layer of x, which has a ReLU.
     *
     * @param x (B, H, W, C)
     */
    public Tensor forwardPooled(Pass pass, Tensor x, Window window) {
        if (!relu) {
            throw new TensorException("batch norm: this one has no ReLU before the maxima");
        }
        if (!pass.training()) {
            Tensor y = forward(pass, x);
            Tensor pooled = Pooling.max(y, window);
            Scope.discard(y, x, pooled);
            return pooled;
        }
        return PooledBatchNorm.apply(x, pass.use(weight), pass.use(bias), running(), window);
    }

    /**
     * max(0, this layer of x, without a ReLU of its own, + residual): the end of a residual block.
     *
     * @param residual shape of x
     */
    public Tensor forwardResidual(Pass pass, Tensor x, Tensor residual) {
        if (relu) {
            throw new TensorException("batch norm: this one has its ReLU before the sum");
        }
        if (!pass.training()) {
            Tensor y = forward(pass, x);
            Tensor sum = StochasticDepth.joinMasked(residual, y, null, null, true);
            Scope.discard(y, x, residual, sum);
            return sum;
        }
        return dev.gatun.tensor.function.BatchNorm.applyResidual(x, residual, pass.use(weight), pass.use(bias), running());
    }

    private RunningStatistics running() {
        return new RunningStatistics(runningMean.value(), runningVariance.value(), MOMENTUM, EPSILON);
    }
}
