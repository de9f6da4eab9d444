// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Convolution;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import org.openjdk.jmh.annotations.Param;

/** Convolution layers of residual networks and of modern ones; the first layer of a network needs no gradient of its input. */
public class ConvolutionBenchmark extends Comparison {
    /** Batch, size, channels, outputs, kernel, stride, padding, groups. */
    @Param({
        "64x28x64x64x3x1x1x1",
        "64x14x128x128x3x1x1x1",
        "64x14x256x256x3x1x1x1",
        "16x224x3x64x7x2x3x1",
        "64x14x256x64x1x1x0x1",
        "64x14x192x192x3x1x1x192",
        "64x14x192x192x7x1x3x192",
        "256x14x24x48x3x2x1x1"
    })
    public String layer;

    @Param({"forward", "forwardBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(layer);
        Convolution.Geometry geometry = Convolution.Geometry.of((int) n[5], (int) n[6], 1, (int) n[7]);
        long size = geometry.outputHeight(n[1], n[4]);
        Operand x = device.normal(1, n[0], n[1], n[1], n[2]);
        Operand weights = device.normal(2, n[3], n[4], n[4], n[2] / n[7]);
        Operand bias = device.normal(3, n[3]);
        Operand y = device.empty(DType.F32, n[0], size, size, n[3]);
        Operand dy = device.normal(4, n[0], size, size, n[3]);
        Operand dx = device.empty(DType.F32, n[0], n[1], n[1], n[2]);
        Operand dweights = device.empty(DType.F32, n[3], n[4], n[4], n[2] / n[7]);
        Operand dbias = device.empty(DType.F32, n[3]);
        MemorySegment workspace = device.bytes(Math.max(
                Convolution.forwardWorkspace(device.stream, x, weights, bias, y, geometry),
                Math.max(
                        Convolution.backwardDataWorkspace(device.stream, dy, weights, dx, geometry),
                        Convolution.backwardWeightsWorkspace(device.stream, x, dy, dweights, dbias, geometry))));
        boolean first = n[2] == 3;
        boolean backward = !pass.equals("forward");
        double flops = 2.0 * n[0] * size * size * n[3] * n[4] * n[4] * n[2] / n[7];
        double in = x.layout().spanBytes();
        double out = y.layout().spanBytes();
        Runnable forward = () -> Convolution.forward(device.stream, x, weights, bias, y, geometry, workspace);
        if (backward) {
            contest.costs((first ? 2 : 3) * flops, 2 * in + 2 * out + (first ? 0 : in));
            Runnable weightsOnly = () -> {
                forward.run();
                Convolution.backwardWeights(device.stream, x, dy, dweights, dbias, geometry, workspace);
            };
            if (first) {
                contest.ours(weightsOnly, y, dweights, dbias);
            } else {
                contest.ours(
                        () -> {
                            weightsOnly.run();
                            Convolution.backwardData(device.stream, dy, weights, dx, geometry, workspace);
                        },
                        y, dweights, dbias, dx);
            }
        } else {
            contest.costs(flops, in + out).ours(forward, y);
        }
        if (backward && n[4] > 1 && n[5] == 1) {
            contest.target(n[7] > 1 ? 1.5 : 1.2);
        }
        contest.torch().ifPresent(torch -> {
            for (String layout : new String[] {"nchw", "channels_last"}) {
                contest.form(
                        layout,
                        "nhwc",
                        !backward ? "convolution" : first ? "weights_backward" : "convolution_backward",
                        contest.script().run(layout, torch.tensors(x, weights, bias, dy)),
                        torch.integer(n[5]), torch.integer(n[6]), torch.integer(n[7]));
            }
        });
    }
}
