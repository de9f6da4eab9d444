// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Comparison;
import dev.gatun.benchmarks.Contest;
import dev.gatun.benchmarks.DeviceState;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.BatchNorm;
import dev.gatun.tensor.layer.Conv2d;
import dev.gatun.tensor.layer.Sequential;
import org.openjdk.jmh.annotations.Param;

/** A residual block of two 3x3 convolutions with batch norms that take the batch's statistics, forward and backward. */
public class BasicBlockBenchmark extends Comparison {
    /** A ReLU that rounding turns on or off changes the gradient by all it is: a few in a million do. */
    private static final double TOLERANCE = 5e-3;

    /** B x H x W x C. */
    @Param({"64x28x28x64"})
    public String shape;

    private BlockTraining ours;

    @Override
    protected String operation() {
        return "steps";
    }

    @Override
    protected void finish() {
        ours.close();
    }

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        String[] sizes = shape.split("x");
        long batch = Long.parseLong(sizes[0]);
        long side = Long.parseLong(sizes[1]);
        int width = Integer.parseInt(sizes[3]);
        ours = BlockTraining.compiled(threads, parameters -> {
            Sequential branch = new Sequential(
                    new Conv2d(parameters.sub("conv1"), width, width, 3, 1, 1, 1, false),
                    new BatchNorm(parameters.sub("bn1"), width, true),
                    new Conv2d(parameters.sub("conv2"), width, width, 3, 1, 1, 1, false));
            BatchNorm last = new BatchNorm(parameters.sub("bn2"), width);
            // as a ResNet of ours joins them
            return (pass, x) -> {
                Tensor inner = branch.forward(pass, x);
                Tensor y = last.forwardResidual(pass, inner, x);
                Scope.discard(inner, x, y);
                return y;
            };
        }, batch, side, side, width);
        double positions = (double) batch * side * side;
        contest.costs(2 * 3 * 2 * positions * 9 * width * width, 0).tolerance(TOLERANCE).target(1.2).ours(ours::run, ours::results);
        contest.torch().ifPresent(torch -> {
            for (int nchw = 0; nchw < 2; nchw++) {
                contest.form(
                        nchw == 1 ? "nchw" : "channels_last", "restored", "basic_block_backward",
                        contest.script().run("images", Twin.list(torch, contest.script(), ours.operands()), torch.integer(nchw)),
                        contest.script().run("statistics", Twin.ints(torch, contest.script(), new int[] {width, width})));
            }
        });
    }
}
