// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Contest;
import dev.gatun.benchmarks.Winograd;
import dev.gatun.benchmarks.torch.Torch;
import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.BatchNorm;
import dev.gatun.tensor.layer.Conv2d;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Sequential;
import java.util.List;
import java.util.Map;
import org.openjdk.jmh.annotations.Param;

/**
 * A residual block of two 3x3 convolutions with batch norms that take the batch's statistics, forward and backward. Where an error is allowed, ours is
 * compared with the block in double precision: {@link DoubleCheck}.
 */
public class BasicBlockBenchmark extends NetworkComparison {
    /**
     * A ReLU that rounding turns on or off changes the gradient by all it is. An error of e before a ReLU, over the standard deviation there, turns
     * 0.32 e of them, which makes sqrt(2 * 0.32 e) of a gradient: of both, 3.6e-3 where e is the 1e-5 that a row allows, and less where it allows none.
     */
    private static final double TOLERANCE = 5e-3;

    private static final String METHOD = "basic_block_backward";

    /** B x H x W x C. */
    @Param({"64x28x28x64", "64x28x28x64-winograd"})
    public String shape;

    @Override
    protected void prepare(Contest contest) {
        String[] sizes = Winograd.shape(shape).split("x");
        long batch = Long.parseLong(sizes[0]);
        long side = Long.parseLong(sizes[1]);
        int width = Integer.parseInt(sizes[3]);
        Geometry geometry = Geometry.of(1, 1).withAllowedError(Winograd.allowedError(shape));
        BlockTraining ours = own(BlockTraining.compiled(threads, parameters -> {
            Sequential branch = new Sequential(
                    new Conv2d(parameters.sub("conv1"), width, width, 3, geometry, false, Initializer.kaimingNormalFanOut()),
                    new BatchNorm(parameters.sub("bn1"), width, true),
                    new Conv2d(parameters.sub("conv2"), width, width, 3, geometry, false, Initializer.kaimingNormalFanOut()));
            BatchNorm last = new BatchNorm(parameters.sub("bn2"), width);
            // as a ResNet of ours joins them
            return (pass, x) -> {
                Tensor inner = branch.forward(pass, x);
                Tensor y = last.forwardResidual(pass, inner, x);
                Scope.discard(inner, x, y);
                return y;
            };
        }, batch, side, side, width));
        double positions = (double) batch * side * side;
        contest.costs(2 * 3 * 2 * positions * 9 * width * width, 0).tolerance(TOLERANCE).ours(ours::run, ours::results);
        boolean allowed = Winograd.allowed(shape);
        if (!allowed) {
            contest.target(1.2);
        }
        contest.torch().ifPresent(torch -> {
            Torch.Script script = contest.script();
            Torch.Value statistics = own(script.run("statistics", Twin.ints(torch, script, new int[] {width, width})));
            for (int nchw = 0; nchw < 2; nchw++) {
                Torch.Value images = own(script.run("images", Twin.list(torch, script, ours.operands()), torch.integer(nchw)));
                contest.form(nchw == 1 ? "nchw" : "channels_last", "restored", METHOD, images, statistics, torch.number(0));
                if (allowed && nchw == 0) {
                    try (Torch.Value exact = script.run("doubles", images); Torch.Value running = script.run("doubles", statistics)) {
                        check(torch, script, ours, exact, running);
                    }
                }
            }
        });
    }

    /** Ours against the block in double precision, by the same with convolutions whose results err by as much as is allowed. */
    private static void check(Torch torch, Torch.Script script, BlockTraining ours, Torch.Value images, Torch.Value statistics) {
        List<float[]> exact = results(script, images, statistics, torch.number(0));
        List<float[]> erring = results(script, images, statistics, torch.number(Winograd.ALLOWED_ERROR));
        new DoubleCheck("the result", ours.names(), exact, DoubleCheck.RELUS).gradients("ours", ours.results(), Map.of("erring", erring));
    }

    private static List<float[]> results(Torch.Script script, Torch.Value... arguments) {
        try (Torch.Value results = script.run(METHOD, arguments); Torch.Value restored = script.run("restored", results)) {
            return restored.floats();
        }
    }
}
