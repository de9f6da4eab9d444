// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.CrossEntropy;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Softmax;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.scalar.ScalarDivision;
import org.openjdk.jmh.annotations.Param;

/** Cross-entropy with soft targets and a temperature, a loss a row. */
public class CrossEntropyBenchmark extends Comparison {
    private static final float TEMPERATURE = 0.1f;

    @Param({"256x3000", "8192x300"})
    public String shape;

    @Param({"forward", "forwardBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand logits = device.normal(1, n);
        Operand targets = device.empty(DType.F32, n);
        Softmax.forward(device.stream, 1, device.normal(2, n), targets);
        Operand loss = device.empty(DType.F32, n[0]);
        Operand lse = device.empty(DType.F32, n[0]);
        Operand dloss = device.normal(3, n[0]);
        Operand kept = device.empty(DType.F32, 2 * n[0]);
        Operand dlogits = device.empty(DType.F32, n);
        double bytes = logits.layout().spanBytes();
        Runnable forward = () -> CrossEntropy.forward(device.stream, TEMPERATURE, logits, targets, loss, lse, kept);
        boolean backward = !pass.equals("forward");
        if (backward) {
            contest.costs(0, 3 * bytes).target(5).ours(
                    () -> {
                        forward.run();
                        CrossEntropy.backward(device.stream, TEMPERATURE, logits, targets, kept, dloss, dlogits);
                    },
                    loss, dlogits);
        } else {
            contest.costs(0, 2 * bytes).ours(forward, loss);
        }
        contest.torch().ifPresent(torch -> {
            for (String form : new String[] {"cross_entropy", "log_softmax"}) {
                contest.form(
                        form, "", backward ? form + "_backward" : form, torch.tensors(logits, targets, dloss), torch.number(TEMPERATURE));
            }
        });
        // its gradient adds to the targets, and differs by more than rounding
        contest.nd4j().filter(nd4j -> !backward).ifPresent(nd4j -> {
            INDArray scaled = nd4j.empty(n);
            INDArray losses = nd4j.empty(n[0]);
            contest.nd4j(
                    "cross_entropy",
                    nd4j.all(
                            nd4j.call(new ScalarDivision(nd4j.array(logits), null, scaled, TEMPERATURE)),
                            nd4j.call(
                                    "softmax_cross_entropy_loss_with_logits", List.of(scaled, nd4j.array(targets)), List.of(losses), 1)),
                    losses);
        });
    }
}
