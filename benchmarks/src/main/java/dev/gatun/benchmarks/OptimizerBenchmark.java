// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Optimizer;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.scalar.ScalarMultiplication;
import org.openjdk.jmh.annotations.Param;

/** Parameter updates: ours over one flat buffer with an offset table, PyTorch's fused step over a list of as many tensors; both on copies of the same
 * state. LARS has no counterpart there. */
public class OptimizerBenchmark extends Comparison {
    /** Parameters x tensors: a ViT-Ti. */
    @Param("5701632x152")
    public String shape;

    @Param({"adamw", "sgd", "ema", "lars"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long elements = Shapes.parse(shape)[0];
        int tensors = (int) Shapes.parse(shape)[1];
        Operand offsets = device.empty(DType.I64, tensors + 1);
        for (int t = 0; t <= tensors; t++) {
            offsets.segment().setAtIndex(ValueLayout.JAVA_LONG, t, elements * t / tensors);
        }
        Operand values = device.normal(1, elements);
        Operand gradients = device.normal(2, elements);
        Optimizer.Parameters parameters =
                new Optimizer.Parameters(values, gradients, offsets, Operand.NONE, Operand.NONE);
        Operand first = device.empty(DType.F32, elements);
        Operand second = device.empty(DType.F32, elements);
        Operand rate = device.empty(DType.F32, 1);
        rate.segment().set(ValueLayout.JAVA_FLOAT, 0, 1e-3f);
        Optimizer.Control control = new Optimizer.Control(rate, Operand.NONE, Operand.NONE);
        Operand step = device.empty(DType.I64, 1);
        step.segment().set(ValueLayout.JAVA_LONG, 0, 1);
        Operand momentum = device.empty(DType.F32, 1);
        momentum.segment().set(ValueLayout.JAVA_FLOAT, 0, 0.99f);
        MemorySegment workspace = device.bytes(Optimizer.larsWorkspace(device.stream, parameters));
        double bytes = values.layout().spanBytes();
        contest.torch().filter(torch -> !pass.equals("lars")).ifPresent(torch -> {
            // before ours has changed anything
            var state = contest.script().run("split", torch.tensors(values, gradients, first, second), torch.integer(tensors));
            contest.form(pass.equals("ema") ? "lerp" : "fused", "joined", pass, state);
        });
        contest.nd4j().filter(nd4j -> pass.equals("adamw")).ifPresent(nd4j -> {
            // decay is a pass before, as it has Adam alone
            INDArray updated = nd4j.array(values).dup();
            INDArray change = nd4j.empty(elements);
            INDArray squares = nd4j.empty(elements);
            INDArray means = nd4j.empty(elements);
            contest.nd4j(
                    "adam_updater",
                    nd4j.all(
                            nd4j.call(new ScalarMultiplication(updated, null, updated, 1 - 1e-3 * 0.05)),
                            nd4j.call(
                                    "adam_updater", List.of(nd4j.array(gradients), squares, means), List.of(change, squares, means), 0, 1e-3, 0.9,
                                    0.999, 1e-8),
                            nd4j.call("subtract", List.of(updated, change), List.of(updated))),
                    updated);
        });
        switch (pass) {
            case "adamw" -> contest.costs(0, 7 * bytes).ours(
                    () -> Optimizer.adamw(device.stream, parameters, first, second, step, control, 0.9f, 0.999f, 1e-8f, 0.05f), values);
            case "sgd" -> contest.costs(0, 5 * bytes)
                    .ours(() -> Optimizer.sgd(device.stream, parameters, first, control, 0.9f, 1e-4f, false), values);
            case "ema" -> contest.costs(0, 3 * bytes)
                    .ours(() -> Optimizer.ema(device.stream, first, values, momentum, Operand.NONE), first);
            default -> contest.costs(0, 5 * bytes).ours(
                    () -> Optimizer.lars(device.stream, parameters, first, Operand.NONE, control, 0.9f, 1e-6f, 1e-3f, workspace), values);
        }
    }
}
