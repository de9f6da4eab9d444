// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.BatchNorm;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.DeviceKind;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Pooling;
import dev.gatun.primitives.Pooling.Window;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Batch normalisation, ReLU and maximum over windows of images (B, H, W, C), in training: what begins a residual network. On the CPU a few
 * images at a time are normalised and pooled while they are in the cache, so that the normalised images are never in memory as a whole, and
 * the gradients of the maxima are added up while they are there; elsewhere one after the other.
 */
public final class PooledBatchNorm implements Function {
    /** Bytes of the images that are normalised at a time, unless one has more. */
    private static final long SLICE = 8 << 20;

    private final RunningStatistics running;
    private final Window window;

    private PooledBatchNorm(RunningStatistics running, Window window) {
        this.running = running;
        this.window = window;
    }

    /**
     * The maxima of max(0, {@link dev.gatun.tensor.function.BatchNorm#apply}).
     *
     * @param x (B, H, W, C)
     * @param running overwritten
     * @return (B, OH, OW, C)
     */
    public static Tensor apply(Tensor x, Tensor gamma, Tensor beta, RunningStatistics running, Window window) {
        if (x.scope().device().kind() != DeviceKind.CPU) {
            Tensor y = dev.gatun.tensor.function.BatchNorm.apply(x, gamma, beta, running, true);
            Tensor pooled = dev.gatun.tensor.function.Pooling.max(y, window);
            Scope.discard(y, x, pooled);
            return pooled;
        }
        dev.gatun.tensor.function.BatchNorm.checkRows(x);
        return Function.apply(new PooledBatchNorm(running, window), x, gamma, beta);
    }

    /** Images of a slice: by the shape alone, so that sums over slices are the same everywhere. */
    private static long step(Tensor x) {
        return Math.max(1, SLICE / Math.max(1, x.elements() / x.size(0) * Float.BYTES));
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        GatunStream stream = c.stream();
        long[] shape = dev.gatun.tensor.function.Pooling.outputShape(in[0], window);
        Tensor x = c.dense(in[0]);
        long channels = x.size(3);
        long rows = x.elements() / channels;
        Tensor mean = c.empty(channels);
        Tensor rstd = c.empty(channels);
        Tensor y = c.empty(shape);
        Tensor argmax = c.empty(DType.I32, shape);
        try (Scope work = c.scope().open()) {
            Tensor centered = work.empty(channels);
            long bytes = BatchNorm.statisticsWorkspace(stream, x.operand(), mean.operand(), centered.operand());
            BatchNorm.statistics(stream, x.operand(), mean.operand(), centered.operand(), work.workspace(bytes));
            Operand rate = work.full(running.momentum(), 1).operand();
            long step = step(x);
            Tensor normalized = work.empty(Math.min(step, x.size(0)), x.size(1), x.size(2), channels);
            for (long i = 0; i < x.size(0); i += step) {
                long end = Math.min(x.size(0), i + step);
                Operand part = normalized.slice(0, 0, end - i).operand();
                // the first slice moves the running statistics
                BatchNorm.forward(
                        stream, true, rows, running.epsilon(), x.slice(0, i, end).operand(), mean.operand(), centered.operand(),
                        in[1].operand(), in[2].operand(), i == 0 ? rate : Operand.NONE, i == 0 ? running.mean().operand() : Operand.NONE,
                        i == 0 ? running.variance().operand() : Operand.NONE, rstd.operand(), part, Operand.NONE);
                Pooling.max(stream, part, y.slice(0, i, end).operand(), argmax.slice(0, i, end).operand(), window);
            }
        }
        running.written();
        c.save(x, in[1], in[2], mean, rstd, argmax);
        return y;
    }

    @Override
    public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        GatunStream stream = c.stream();
        Tensor x = c.saved(0);
        Operand gamma = c.saved(1).operand();
        Operand beta = c.saved(2).operand();
        Operand mean = c.saved(3).operand();
        Operand rstd = c.saved(4).operand();
        Tensor argmax = c.saved(5);
        Tensor dy = c.dense(g[0]);
        long channels = x.size(3);
        long step = step(x);
        long slices = (x.size(0) + step - 1) / step;
        Tensor dgamma = c.empty(channels);
        Tensor dbeta = c.empty(channels);
        Tensor dx = c.needsGradient(0) ? c.empty(x.shape()) : null;
        try (Scope work = c.scope().open()) {
            Tensor sums = work.empty(2, slices, channels);
            Tensor only = dx == null ? work.empty(Math.min(step, x.size(0)), x.size(1), x.size(2), channels) : null;
            for (long i = 0; i < x.size(0); i += step) {
                long end = Math.min(x.size(0), i + step);
                // in dx, where the second pass finds it, or in scratch memory where nobody wants dx
                Operand part = (only == null ? dx.slice(0, i, end) : only.slice(0, 0, end - i)).operand();
                Pooling.maxBackward(stream, dy.slice(0, i, end).operand(), argmax.slice(0, i, end).operand(), part, window);
                addUp(stream, work, x.slice(0, i, end).operand(), mean, rstd, gamma, beta, part, sums.slice(1, i / step, i / step + 1));
            }
            dgamma.copyFrom(sums.slice(0, 0, 1).reshape(slices, channels).sum(0));
            dbeta.copyFrom(sums.slice(0, 1, 2).reshape(slices, channels).sum(0));
            if (dx != null) {
                Operand all = dx.operand();
                BatchNorm.backward(
                        stream, true, x.elements() / channels, x.operand(), mean, rstd, gamma, beta, all, dgamma.operand(), dbeta.operand(), all);
            }
        }
        return new Tensor[] {dx, dgamma, dbeta};
    }

    private static void addUp(
            GatunStream stream, Scope work, Operand x, Operand mean, Operand rstd, Operand gamma, Operand beta, Operand dy, Tensor sums) {
        Operand dgamma = sums.slice(0, 0, 1).reshape(sums.size(2)).operand();
        Operand dbeta = sums.slice(0, 1, 2).reshape(sums.size(2)).operand();
        try (Scope once = work.open()) {
            long bytes = BatchNorm.backwardSumsWorkspace(stream, true, x, mean, rstd, gamma, beta, dy, dgamma, dbeta);
            BatchNorm.backwardSums(stream, true, x, mean, rstd, gamma, beta, dy, dgamma, dbeta, Operand.NONE, Operand.NONE, once.workspace(bytes));
        }
    }

    @Override
    public String composedForm() {
        return "batch norm's composed form, and Pooling.max";
    }
}
