// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.InfoNce;
import dev.gatun.primitives.L2Normalize;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.openjdk.jmh.annotations.Param;

/** SimCLR's loss: each row's positive is its twin, all others are negatives. The scores are symmetric: N²·D/2 multiply-adds count forward, N²·D backward; what
 * is recomputed does not count. */
public class InfoNceBenchmark extends Comparison {
    private static final float TEMPERATURE = 0.2f;

    /** N x D. */
    @Param({"512x64", "4096x128"})
    public String shape;

    @Param({"forward", "forwardBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand rows = device.empty(DType.F32, n);
        L2Normalize.forward(device.stream, device.normal(1, n), rows, device.empty(DType.F32, n[0]), 1e-12f);
        Operand groups = device.empty(DType.I32, n[0]);
        Operand twins = device.empty(DType.I64, n[0]);
        for (int i = 0; i < n[0]; i++) {
            groups.segment().setAtIndex(ValueLayout.JAVA_INT, i, (int) (i % (n[0] / 2)));
            twins.segment().setAtIndex(ValueLayout.JAVA_LONG, i, (i + n[0] / 2) % n[0]);
        }
        InfoNce.Inputs inputs = InfoNce.Inputs.self(rows, groups, TEMPERATURE);
        InfoNce.Result result =
                new InfoNce.Result(device.empty(DType.F32, n[0]), device.empty(DType.F32, n[0]), device.empty(DType.I32, n[0]));
        Operand dloss = device.normal(2, n[0]);
        InfoNce.Gradients gradients = new InfoNce.Gradients(device.empty(DType.F32, n), Operand.NONE);
        MemorySegment forward = device.bytes(InfoNce.forwardWorkspace(device.stream, inputs, result));
        MemorySegment backward = device.bytes(
                InfoNce.backwardWorkspace(device.stream, inputs, result.lse(), result.positives(), dloss, gradients));
        double flops = (double) n[0] * n[0] * n[1];
        double bytes = rows.layout().spanBytes();
        boolean both = !pass.equals("forward");
        if (both) {
            contest.costs(3 * flops, 3 * bytes).ours(
                    () -> {
                        InfoNce.forward(device.stream, inputs, result, forward);
                        InfoNce.backward(device.stream, inputs, result.lse(), result.positives(), dloss, gradients, backward);
                    },
                    result.loss(), gradients.dq());
        } else {
            contest.costs(flops, bytes).ours(() -> InfoNce.forward(device.stream, inputs, result, forward), result.loss());
        }
        contest.torch().ifPresent(torch -> contest.form(
                "cross_entropy", "", both ? "loss_backward" : "loss", torch.tensors(rows, twins, dloss), torch.number(TEMPERATURE)));
    }
}
