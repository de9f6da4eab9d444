// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Elementwise;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
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
    }
}
