// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Pooling;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Pooling: a residual network's stem, halving, and the whole image. */
public class PoolingBenchmark extends Comparison {
    /** Batch, size, channels, window, stride, padding. */
    @Param({"8x112x64x3x2x1", "64x28x64x2x2x0", "256x7x512x7x1x0"})
    public String shape;

    @Param({"max", "maxBackward", "average", "averageBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Pooling.Window window = Pooling.Window.of((int) n[3], (int) n[4], (int) n[5]);
        long size = window.outputHeight(n[1]);
        Operand x = device.normal(1, n[0], n[1], n[1], n[2]);
        Operand y = device.empty(DType.F32, n[0], size, size, n[2]);
        Operand dy = device.normal(2, n[0], size, size, n[2]);
        Operand argmax = device.empty(DType.I32, n[0], size, size, n[2]);
        Operand dx = device.empty(DType.F32, n[0], n[1], n[1], n[2]);
        boolean max = pass.startsWith("max");
        boolean backward = pass.endsWith("Backward");
        Runnable forward = max
                ? () -> Pooling.max(device.stream, x, y, argmax, window)
                : () -> Pooling.average(device.stream, x, y, window, true);
        double in = x.layout().spanBytes();
        double out = y.layout().spanBytes();
        if (backward) {
            contest.costs(0, 2 * in + 2 * out).ours(
                    () -> {
                        forward.run();
                        if (max) {
                            Pooling.maxBackward(device.stream, dy, argmax, dx, window);
                        } else {
                            Pooling.averageBackward(device.stream, dy, dx, window, true);
                        }
                    },
                    y, dx);
        } else {
            contest.costs(0, in + out).ours(forward, y);
        }
        contest.torch().ifPresent(torch -> {
            for (String layout : new String[] {"nchw", "channels_last"}) {
                contest.form(
                        layout, "nhwc", pass.replace("Backward", "_backward"), contest.script().run(layout, torch.tensors(x, dy)),
                        torch.integer(n[3]), torch.integer(n[4]), torch.integer(n[5]));
            }
        });
        contest.nd4j().ifPresent(nd4j -> {
            for (boolean nhwc : new boolean[] {false, true}) {
                INDArray images = nhwc ? nd4j.array(x) : nd4j.permuted(nd4j.array(x), 0, 3, 1, 2);
                INDArray dout = nhwc ? nd4j.array(dy) : nd4j.permuted(nd4j.array(dy), 0, 3, 1, 2);
                INDArray pooled = nd4j.empty(dout.shape());
                INDArray din = nd4j.empty(images.shape());
                // window, stride, padding, dilation, not "same", padding counts, layout
                Number[] settings = {n[3], n[3], n[4], n[4], n[5], n[5], 1, 1, 0, 1, nhwc ? 1 : 0};
                String operation = max ? "maxpool2d" : "avgpool2d";
                Runnable pool = nd4j.call(operation, List.of(images), List.of(pooled), settings);
                INDArray y4 = nhwc ? pooled : pooled.permute(0, 2, 3, 1);
                if (backward) {
                    contest.nd4j(
                            nhwc ? "nhwc" : "nchw", nd4j.all(pool, nd4j.call(operation + "_bp", List.of(images, dout), List.of(din), settings)), y4,
                            nhwc ? din : din.permute(0, 2, 3, 1));
                } else {
                    contest.nd4j(nhwc ? "nhwc" : "nchw", pool, y4);
                }
            }
        });
    }
}
