// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Activation;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
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
    }
}
