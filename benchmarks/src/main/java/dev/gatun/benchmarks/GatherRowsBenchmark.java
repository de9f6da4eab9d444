// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatherRows;
import dev.gatun.primitives.Operand;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Rows by index: shuffled batches, subsets of samples. */
public class GatherRowsBenchmark extends Comparison {
    @Param("256x9408")
    public String shape;

    @Param({"forward", "backward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand x = device.normal(1, n);
        Operand y = device.empty(DType.F32, n);
        Operand indices = device.empty(DType.I32, n[0]);
        for (int i = 0; i < n[0]; i++) {
            indices.segment().setAtIndex(ValueLayout.JAVA_INT, i, (int) ((i * 77L + 5) % n[0]));
        }
        contest.costs(0, 2.0 * x.layout().spanBytes())
                .ours(
                        pass.equals("forward")
                                ? () -> GatherRows.forward(device.stream, x, indices, y)
                                : () -> GatherRows.backward(device.stream, x, indices, y),
                        y);
        contest.torch().ifPresent(torch ->
                contest.form(pass.equals("forward") ? "index_select" : "index_add", torch.tensors(x, indices)));
        contest.nd4j().filter(nd4j -> pass.equals("forward")).ifPresent(nd4j -> {
            INDArray out = nd4j.empty(n);
            contest.nd4j("gather", nd4j.call("gather", List.of(nd4j.array(x), nd4j.array(indices)), List.of(out), 0), out);
        });
    }
}
