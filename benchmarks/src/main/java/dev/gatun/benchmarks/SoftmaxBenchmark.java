// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Softmax;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Softmax over rows. */
public class SoftmaxBenchmark extends Comparison {
    @Param("12608x192")
    public String shape;

    @Param({"forward", "forwardBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand x = device.normal(1, n);
        Operand y = device.empty(DType.F32, n);
        Operand dy = device.normal(2, n);
        Operand dx = device.empty(DType.F32, n);
        double bytes = x.layout().spanBytes();
        Runnable forward = () -> Softmax.forward(device.stream, 1, x, y);
        boolean backward = !pass.equals("forward");
        if (backward) {
            contest.costs(0, 4 * bytes).ours(
                    () -> {
                        forward.run();
                        Softmax.backward(device.stream, 1, y, dy, dx);
                    },
                    y, dx);
        } else {
            contest.costs(0, 2 * bytes).ours(forward, y);
        }
        contest.torch().ifPresent(torch -> contest.form("softmax", "", backward ? "softmax_backward" : "softmax", torch.tensors(x, dy)));
        contest.nd4j().ifPresent(nd4j -> {
            INDArray in = nd4j.array(x);
            INDArray out = nd4j.empty(n);
            INDArray din = nd4j.empty(n);
            Runnable softmax = nd4j.call("softmax", List.of(in), List.of(out), -1);
            if (backward) {
                contest.nd4j("softmax", nd4j.all(softmax, nd4j.call("softmax_bp", List.of(in, nd4j.array(dy)), List.of(din), -1)), out, din);
            } else {
                contest.nd4j("softmax", softmax, out);
            }
        });
    }
}
