// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.BatchNorm;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Batch normalisation with ReLU, as in a residual block: training statistics, or those kept for inference. */
public class BatchNormBenchmark extends Comparison {
    /** B x H x W x C. */
    @Param({"64x28x28x64", "64x14x14x256"})
    public String shape;

    @Param({"forward", "forwardBackward", "inference"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        long rows = n[0] * n[1] * n[2];
        Operand x = device.normal(1, rows, n[3]);
        Operand y = device.empty(DType.F32, rows, n[3]);
        Operand dy = device.normal(4, rows, n[3]);
        Operand dx = device.empty(DType.F32, rows, n[3]);
        Operand mean = device.empty(DType.F32, n[3]);
        Operand centered = device.empty(DType.F32, n[3]);
        Operand rstd = device.empty(DType.F32, n[3]);
        Operand gamma = device.normal(2, n[3]);
        Operand beta = device.normal(3, n[3]);
        Operand dgamma = device.empty(DType.F32, n[3]);
        Operand dbeta = device.empty(DType.F32, n[3]);
        MemorySegment workspace = device.bytes(Math.max(
                BatchNorm.statisticsWorkspace(device.stream, x, mean, centered),
                BatchNorm.backwardSumsWorkspace(device.stream, true, x, mean, rstd, gamma, beta, dy, dgamma, dbeta)));
        double bytes = x.layout().spanBytes();
        // a value within rounding of 0 passes ReLU on one side and not on the other, and brings its whole gradient
        contest.tolerance(1e-2);
        Runnable forward = () -> {
            BatchNorm.statistics(device.stream, x, mean, centered, workspace);
            BatchNorm.forward(
                    device.stream, true, rows, 1e-5, x, mean, centered, gamma, beta, Operand.NONE, Operand.NONE, Operand.NONE, rstd, y,
                    Operand.NONE);
        };
        String method = "train";
        switch (pass) {
            case "forward" -> contest.costs(0, 2 * bytes).ours(forward, y);
            case "inference" -> {
                method = "inference";
                for (int c = 0; c < n[3]; c++) {
                    centered.segment().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, c, 1 + c / (float) n[3]);
                }
                contest.costs(0, 2 * bytes).ours(
                        () -> BatchNorm.inference(device.stream, true, 1e-5, x, mean, centered, gamma, beta, y), y);
            }
            default -> {
                method = "train_backward";
                contest.costs(0, 4 * bytes).ours(
                        () -> {
                            forward.run();
                            BatchNorm.backwardSums(
                                    device.stream, true, x, mean, rstd, gamma, beta, dy, dgamma, dbeta, Operand.NONE, Operand.NONE, workspace);
                            BatchNorm.backward(device.stream, true, rows, x, mean, rstd, gamma, beta, dy, dgamma, dbeta, dx);
                        },
                        y, dx, dgamma, dbeta);
            }
        }
        String form = method;
        contest.torch().ifPresent(torch -> {
            for (String layout : new String[] {"nchw", "channels_last"}) {
                contest.form(
                        layout, "rows", form, contest.script().run(
                                layout,
                                torch.tensors(x, dy, gamma, beta, mean, centered),
                                torch.integer(n[0]), torch.integer(n[1]), torch.integer(n[2])));
            }
        });
        contest.nd4j().filter(nd4j -> !pass.equals("forwardBackward")).ifPresent(nd4j -> {
            boolean training = pass.equals("forward");
            INDArray in = nd4j.array(x).reshape(n);
            INDArray means = training ? nd4j.empty(n[3]) : nd4j.array(mean);
            INDArray variances = training ? nd4j.empty(n[3]) : nd4j.array(centered);
            INDArray out = nd4j.empty(n);
            Runnable norm = nd4j.all(
                    // with scale and offset, over the last axis
                    nd4j.call(
                            "batchnorm", List.of(in, means, variances, nd4j.array(gamma), nd4j.array(beta)), List.of(out), 1, 1, 3, 1e-5),
                    nd4j.call("relu", List.of(out), List.of(out), 0.0));
            Runnable moments = nd4j.call("moments", List.of(in), List.of(means, variances), 0, 1, 2);
            contest.nd4j("nhwc", training ? nd4j.all(moments, norm) : norm, out.reshape(rows, n[3]));
        });
    }
}
