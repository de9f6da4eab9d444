// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.StochasticDepth;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.openjdk.jmh.annotations.Param;

/** The residual of a block that some samples drop, the mask given, with LayerScale. */
public class StochasticDepthBenchmark extends Comparison {
    @Param("64x197x192")
    public String shape;

    @Param({"forward", "forwardBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand x = device.normal(1, n);
        Operand residual = device.normal(2, n);
        Operand y = device.empty(DType.F32, n);
        Operand dy = device.normal(3, n);
        Operand dresidual = device.empty(DType.F32, n);
        Operand gamma = device.normal(4, n[2]);
        Operand dgamma = device.empty(DType.F32, n[2]);
        Operand mask = device.empty(DType.F32, n[0]);
        for (int i = 0; i < n[0]; i++) {
            mask.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, i % 5 == 2 ? 0 : 1.25f);
        }
        double bytes = x.layout().spanBytes();
        Runnable forward =
                () -> StochasticDepth.forward(device.stream, x, residual, Operand.NONE, mask, gamma, y, 1);
        boolean backward = !pass.equals("forward");
        if (backward) {
            MemorySegment workspace = device.bytes(StochasticDepth.backwardWorkspace(
                    device.stream, dy, Operand.NONE, mask, gamma, dresidual, dgamma));
            contest.costs(0, 6 * bytes).ours(
                    () -> {
                        forward.run();
                        StochasticDepth.backward(
                                device.stream, dy, residual, Operand.NONE, mask, gamma, dresidual, dgamma, 1, workspace);
                    },
                    y, dresidual, dgamma);
        } else {
            contest.costs(0, 3 * bytes).ours(forward, y);
        }
        contest.torch().ifPresent(torch -> {
            for (String form : new String[] {"scaled", "addcmul"}) {
                contest.form(form, "", backward ? form + "_backward" : form, torch.tensors(x, residual, mask, gamma, dy));
            }
        });
    }
}
