// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Pooling;
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
    }
}
