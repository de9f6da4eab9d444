// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.benchmarks.nd4j.Nd4jPeer;
import dev.gatun.primitives.Convolution;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Convolution layers of residual networks and of modern ones; the first layer of a network needs no gradient of its input. */
public class ConvolutionBenchmark extends Comparison {
    /** Batch, size, channels, outputs, kernel, stride, padding, groups; or with an error allowed. */
    @Param({
        "64x28x64x64x3x1x1x1",
        "64x14x128x128x3x1x1x1",
        "64x14x256x256x3x1x1x1",
        "16x224x3x64x7x2x3x1",
        "64x14x256x64x1x1x0x1",
        "64x14x192x192x3x1x1x192",
        "64x14x192x192x7x1x3x192",
        "256x14x24x48x3x2x1x1",
        "64x28x64x64x3x1x1x1-winograd",
        "64x14x128x128x3x1x1x1-winograd",
        "64x14x256x256x3x1x1x1-winograd"
    })
    public String layer;

    @Param({"forward", "forwardBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        boolean winograd = Winograd.allowed(layer);
        long[] n = Shapes.parse(Winograd.shape(layer));
        Convolution.Geometry geometry = Convolution.Geometry.of((int) n[5], (int) n[6], 1, (int) n[7]).withAllowedError(Winograd.allowedError(layer));
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
        if (backward && !winograd && n[4] > 1 && n[5] == 1) {
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
        // its depthwise 7x7 takes seconds a call
        contest.nd4j().filter(nd4j -> n[7] == 1 || n[4] == 3).ifPresent(nd4j -> {
            for (boolean nhwc : new boolean[] {false, true}) {
                nd4j(contest, nd4j, nhwc, backward, x, weights, bias, dy);
            }
        });
    }

    /** Its weights: output channels first, for depthwise convolution those of a group. It has no backward without the gradient of the images. */
    private void nd4j(Contest contest, Nd4jPeer nd4j, boolean nhwc, boolean backward, Operand x, Operand weights, Operand bias, Operand dy) {
        long[] n = Shapes.parse(Winograd.shape(layer));
        boolean depthwise = n[7] > 1;
        INDArray filters = nd4j.array(weights);
        INDArray in = nhwc ? nd4j.array(x) : nd4j.permuted(nd4j.array(x), 0, 3, 1, 2);
        INDArray dout = nhwc ? nd4j.array(dy) : nd4j.permuted(nd4j.array(dy), 0, 3, 1, 2);
        INDArray w;
        if (depthwise) {
            w = nhwc ? nd4j.permuted(filters, 3, 1, 2, 0) : nd4j.permuted(filters, 3, 0, 1, 2);
        } else {
            w = nhwc ? filters : nd4j.permuted(filters, 0, 3, 1, 2);
        }
        INDArray b = nd4j.array(bias);
        INDArray out = nd4j.empty(dout.shape());
        // kernel, stride, padding, dilation, not "same", layout of images, of weights
        Number[] settings = {n[4], n[4], n[5], n[5], n[6], n[6], 1, 1, 0, nhwc ? 1 : 0, nhwc ? 2 : 1};
        String operation = depthwise ? "depthwise_conv2d" : "conv2d";
        String name = nhwc ? "nhwc" : "nchw";
        Runnable forward = nd4j.call(operation, List.of(in, w, b), List.of(out), settings);
        INDArray y = nhwc ? out : out.permute(0, 2, 3, 1);
        if (!backward) {
            contest.nd4j(name, forward, y);
            return;
        }
        INDArray din = nd4j.empty(in.shape());
        INDArray dw = nd4j.empty(w.shape());
        INDArray db = nd4j.empty(n[3]);
        INDArray dfilters;
        if (depthwise) {
            dfilters = nhwc ? dw.permute(3, 1, 2, 0) : dw.permute(1, 2, 3, 0);
        } else {
            dfilters = nhwc ? dw : dw.permute(0, 2, 3, 1);
        }
        Runnable both = nd4j.all(forward, nd4j.call(operation + "_bp", List.of(in, w, b, dout), List.of(din, dw, db), settings));
        if (n[2] == 3) {
            contest.nd4j(name, both, y, dfilters, db);
        } else {
            contest.nd4j(name, both, y, dfilters, db, nhwc ? din : din.permute(0, 2, 3, 1));
        }
    }
}
