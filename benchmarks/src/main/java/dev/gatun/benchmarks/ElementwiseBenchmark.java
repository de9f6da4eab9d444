// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Elementwise;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Exp;
import org.openjdk.jmh.annotations.Param;

/** Elementary operations on tokens. */
public class ElementwiseBenchmark extends Comparison {
    @Param("12608x192")
    public String shape;

    @Param({"transpose", "addBias", "exp"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand x = device.normal(1, n);
        Operand bias = device.normal(2, n[1]);
        Operand y = device.empty(DType.F32, n);
        Operand transposed =
                new Operand(x.segment(), Layout.strided(DType.F32, new long[] {n[1], n[0]}, new long[] {1, n[1]}));
        Operand columns = new Operand(y.segment(), Layout.of(DType.F32, n[1], n[0]));
        contest.costs(0, 2.0 * x.layout().spanBytes())
                .ours(
                        switch (pass) {
                            case "transpose" -> () -> Elementwise.copy(device.stream, transposed, columns);
                            case "addBias" -> () -> Elementwise.binary(device.stream, Elementwise.Binary.ADD, x, bias, y);
                            default -> () -> Elementwise.unary(device.stream, Elementwise.Unary.EXP, x, y);
                        },
                        y);
        contest.torch().ifPresent(torch -> contest.form(pass, torch.tensors(x, bias)));
        contest.nd4j().ifPresent(nd4j -> {
            INDArray in = nd4j.array(x);
            INDArray out = pass.equals("transpose") ? nd4j.empty(n[1], n[0]) : nd4j.empty(n);
            contest.nd4j(
                    pass,
                    switch (pass) {
                        case "transpose" -> () -> out.assign(in.transpose());
                        case "addBias" -> nd4j.call("biasadd", List.of(in, nd4j.array(bias)), List.of(out));
                        default -> nd4j.call(new Exp(in, out));
                    },
                    out);
        });
    }
}
