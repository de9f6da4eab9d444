// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GroupNorm;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import org.openjdk.jmh.annotations.Param;

/** Group normalisation in 32 groups. */
public class GroupNormBenchmark extends Comparison {
    /** B x H·W x C. */
    @Param("64x784x64")
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
        Operand mean = device.empty(DType.F32, n[0], 32);
        Operand rstd = device.empty(DType.F32, n[0], 32);
        Operand gamma = device.normal(2, n[2]);
        Operand beta = device.normal(3, n[2]);
        Operand dgamma = device.empty(DType.F32, n[2]);
        Operand dbeta = device.empty(DType.F32, n[2]);
        MemorySegment workspace = device.bytes(Math.max(
                GroupNorm.forwardWorkspace(device.stream, 1e-5f, 32, x, gamma, beta, y, mean, rstd),
                GroupNorm.backwardWorkspace(device.stream, 32, x, gamma, mean, rstd, dy, dx, dgamma, dbeta)));
        double bytes = x.layout().spanBytes();
        Runnable forward = () -> GroupNorm.forward(device.stream, 1e-5f, 32, x, gamma, beta, y, mean, rstd, workspace);
        boolean backward = !pass.equals("forward");
        if (backward) {
            contest.costs(0, 4 * bytes).ours(
                    () -> {
                        forward.run();
                        GroupNorm.backward(device.stream, 32, x, gamma, mean, rstd, dy, dx, dgamma, dbeta, workspace);
                    },
                    y, dx, dgamma, dbeta);
        } else {
            contest.costs(0, 2 * bytes).ours(forward, y);
        }
        contest.torch().ifPresent(torch -> {
            for (String layout : new String[] {"nchw", "channels_last"}) {
                contest.form(
                        layout, "rows", backward ? "norm_backward" : "norm",
                        contest.script().run(layout, torch.tensors(x, dy, gamma, beta), torch.integer((long) Math.sqrt(n[1]))));
            }
        });
    }
}
