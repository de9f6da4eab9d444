// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.L2Normalize;
import dev.gatun.primitives.Operand;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Rows to unit length, as before every comparison of features. */
public class L2NormalizeBenchmark extends Comparison {
    @Param({"4096x128", "512x2048"})
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
        Operand norm = device.empty(DType.F32, n[0]);
        double bytes = x.layout().spanBytes();
        Runnable forward = () -> L2Normalize.forward(device.stream, x, y, norm, 1e-12f);
        boolean backward = !pass.equals("forward");
        if (backward) {
            contest.costs(0, 4 * bytes).target(5).ours(
                    () -> {
                        forward.run();
                        L2Normalize.backward(device.stream, y, norm, dy, dx, 1e-12f);
                    },
                    y, dx);
        } else {
            contest.costs(0, 2 * bytes).ours(forward, y);
        }
        contest.torch().ifPresent(torch -> {
            for (String form : new String[] {"normalize", "rsqrt"}) {
                contest.form(form, "", backward ? form + "_backward" : form, torch.tensors(x, dy));
            }
        });
        contest.nd4j().filter(nd4j -> !backward).ifPresent(nd4j -> {
            INDArray in = nd4j.array(x);
            INDArray norms = nd4j.empty(n[0]);
            INDArray out = nd4j.empty(n);
            contest.nd4j(
                    "norm2",
                    nd4j.all(
                            nd4j.call("reduce_norm2", List.of(in), List.of(norms), 1),
                            nd4j.call("divide", List.of(in, norms.reshape(n[0], 1)), List.of(out))),
                    out);
        });
    }
}
