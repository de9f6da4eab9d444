// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Reduction;
import java.lang.foreign.MemorySegment;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.reduce.same.Sum;
import org.openjdk.jmh.annotations.Param;

/** Sums of rows, of columns and of everything. */
public class ReductionBenchmark extends Comparison {
    @Param({"12608x192", "200704x64"})
    public String shape;

    @Param({"rows", "columns", "all"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand x = device.normal(1, n);
        Operand y =
                switch (pass) {
                    case "rows" -> device.empty(DType.F32, n[0], 1);
                    case "columns" -> device.empty(DType.F32, n[1]);
                    default -> device.empty(DType.F32, 1);
                };
        MemorySegment workspace = device.bytes(Reduction.workspace(device.stream, Reduction.Kind.SUM, x, y));
        contest.costs(0, x.layout().spanBytes())
                .ours(() -> Reduction.reduce(device.stream, Reduction.Kind.SUM, x, y, workspace), y);
        contest.torch().ifPresent(torch -> contest.form("sum", "", pass, torch.tensor(x)));
        contest.nd4j().ifPresent(nd4j -> {
            INDArray out = pass.equals("all") ? nd4j.scalar() : nd4j.empty(pass.equals("rows") ? n[0] : n[1]);
            int[] dimensions =
                    switch (pass) {
                        case "rows" -> new int[] {1};
                        case "columns" -> new int[] {0};
                        default -> new int[0];
                    };
            contest.nd4j("sum", nd4j.call(new Sum(nd4j.array(x), out, dimensions)), out);
        });
    }
}
