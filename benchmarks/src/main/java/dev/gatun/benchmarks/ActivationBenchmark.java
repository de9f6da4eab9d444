// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Activation;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Activations of the layers of transformers and residual networks. */
public class ActivationBenchmark extends Comparison {
    @Param({"12608x192", "12608x768"})
    public String shape;

    @Param({"gelu", "geluBackward", "relu", "reluBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        Operand x = device.normal(1, Shapes.parse(shape));
        Operand y = device.empty(DType.F32, Shapes.parse(shape));
        Operand dy = device.normal(2, Shapes.parse(shape));
        Operand dx = device.empty(DType.F32, Shapes.parse(shape));
        boolean backward = pass.endsWith("Backward");
        Activation.Function function = pass.startsWith("gelu") ? Activation.Function.GELU : Activation.Function.RELU;
        double bytes = x.layout().spanBytes();
        if (backward) {
            contest.costs(0, 4 * bytes).ours(
                    () -> {
                        Activation.forward(device.stream, function, x, y);
                        Activation.backward(device.stream, function, x, dy, dx);
                    },
                    y, dx);
        } else {
            contest.costs(0, 2 * bytes).ours(() -> Activation.forward(device.stream, function, x, y), y);
        }
        contest.torch().ifPresent(torch ->
                contest.form(pass.replace("Backward", "_backward"), torch.tensors(x, dy)));
        // its GELU is the one with tanh, another function
        contest.nd4j().filter(nd4j -> function == Activation.Function.RELU).ifPresent(nd4j -> {
            INDArray in = nd4j.array(x);
            INDArray out = nd4j.empty(Shapes.parse(shape));
            INDArray din = nd4j.empty(Shapes.parse(shape));
            Runnable relu = nd4j.call("relu", List.of(in), List.of(out), 0.0);
            if (backward) {
                contest.nd4j("relu", nd4j.all(relu, nd4j.call("relu_bp", List.of(in, nd4j.array(dy)), List.of(din), 0.0)), out, din);
            } else {
                contest.nd4j("relu", relu, out);
            }
        });
    }
}
