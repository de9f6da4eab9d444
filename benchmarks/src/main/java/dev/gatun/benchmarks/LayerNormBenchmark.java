// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.LayerNorm;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Layer normalisation of tokens. */
public class LayerNormBenchmark extends Comparison {
    @Param("12608x192")
    public String shape;

    @Param({"forward", "forwardBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand x = device.normal(1, n);
        Operand y = device.empty(DType.F32, n);
        Operand dy = device.normal(4, n);
        Operand dx = device.empty(DType.F32, n);
        Operand mean = device.empty(DType.F32, n[0]);
        Operand rstd = device.empty(DType.F32, n[0]);
        Operand gamma = device.normal(2, n[1]);
        Operand beta = device.normal(3, n[1]);
        Operand dgamma = device.empty(DType.F32, n[1]);
        Operand dbeta = device.empty(DType.F32, n[1]);
        MemorySegment workspace =
                device.bytes(LayerNorm.backwardWorkspace(device.stream, x, gamma, mean, rstd, dy, dx, dgamma, dbeta));
        double bytes = x.layout().spanBytes();
        Runnable forward = () -> LayerNorm.forward(device.stream, 1e-6f, x, gamma, beta, y, mean, rstd);
        boolean backward = !pass.equals("forward");
        if (backward) {
            contest.costs(0, 4 * bytes).target(1.4).ours(
                    () -> {
                        forward.run();
                        LayerNorm.backward(device.stream, x, gamma, mean, rstd, dy, dx, dgamma, dbeta, workspace);
                    },
                    y, dx, dgamma, dbeta);
        } else {
            contest.costs(0, 2 * bytes).ours(forward, y);
        }
        contest.torch().ifPresent(torch ->
                contest.form("layer_norm", "", backward ? "norm_backward" : "norm", torch.tensors(x, dy, gamma, beta)));
        contest.nd4j().ifPresent(nd4j -> {
            List<INDArray> in = List.of(nd4j.array(x), nd4j.array(gamma), nd4j.array(beta));
            INDArray out = nd4j.empty(n);
            Runnable norm = nd4j.call("layer_norm", in, List.of(out), -1);
            if (backward) {
                List<INDArray> gradients = List.of(nd4j.empty(n), nd4j.empty(n[1]), nd4j.empty(n[1]));
                Runnable back = nd4j.call("layer_norm_bp", List.of(in.get(0), in.get(1), in.get(2), nd4j.array(dy)), gradients, -1);
                contest.nd4j("layer_norm", nd4j.all(norm, back), out, gradients.get(0), gradients.get(1), gradients.get(2));
            } else {
                contest.nd4j("layer_norm", norm, out);
            }
        });
    }
}
