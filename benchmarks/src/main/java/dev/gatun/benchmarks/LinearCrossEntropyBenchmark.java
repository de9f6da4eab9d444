// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.CrossEntropy;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.L2Normalize;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.LinearCrossEntropy;
import dev.gatun.primitives.Matmul;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Softmax;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.openjdk.jmh.annotations.Param;

/** The loss of a swapped prediction from features and prototypes, and both gradients. The form "parts" writes the scores once, and their gradient over
 * them. */
public class LinearCrossEntropyBenchmark extends Comparison {
    private static final float TEMPERATURE = 0.1f;

    /** N x K x D. */
    @Param({"256x3000x128", "1024x3000x128", "8192x3000x128"})
    public String shape;

    @Param({"fused", "parts"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand z = unit(device, 1, n[0], n[2]);
        Operand prototypes = unit(device, 2, n[1], n[2]);
        Operand targets = device.empty(DType.F32, n[0], n[1]);
        Softmax.forward(device.stream, 1, device.normal(3, n[0], n[1]), targets);
        Operand loss = device.empty(DType.F32, n[0]);
        Operand dloss = device.empty(DType.F32, n[0]);
        for (long i = 0; i < n[0]; i++) {
            dloss.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, 1f / n[0]);
        }
        Operand dz = device.empty(DType.F32, n[0], n[2]);
        Operand dprototypes = device.empty(DType.F32, n[1], n[2]);
        contest.costs(6.0 * n[0] * n[1] * n[2], (double) targets.layout().spanBytes());
        if (pass.equals("fused")) {
            LinearCrossEntropy.Inputs inputs = new LinearCrossEntropy.Inputs(z, prototypes, targets, Operand.NONE, TEMPERATURE);
            LinearCrossEntropy.Result result = new LinearCrossEntropy.Result(loss, dz, dprototypes, 1f / n[0]);
            MemorySegment workspace = device.bytes(LinearCrossEntropy.workspace(device.stream, inputs, result));
            contest.ours(() -> LinearCrossEntropy.run(device.stream, inputs, result, workspace), loss, dz, dprototypes);
        } else {
            Operand scores = device.empty(DType.F32, n[0], n[1]);
            Operand kept = device.empty(DType.F32, 2 * n[0]);
            Runnable forward = product(device, z, transposed(prototypes), scores);
            Runnable ofFeatures = product(device, scores, prototypes, dz);
            Runnable ofPrototypes = product(device, transposed(scores), z, dprototypes);
            contest.ours(
                    () -> {
                        forward.run();
                        CrossEntropy.forward(device.stream, TEMPERATURE, scores, targets, loss, Operand.NONE, kept);
                        CrossEntropy.backward(device.stream, TEMPERATURE, scores, targets, kept, dloss, scores);
                        ofFeatures.run();
                        ofPrototypes.run();
                    },
                    loss, dz, dprototypes);
        }
        contest.torch().ifPresent(torch -> {
            for (String form : new String[] {"cross_entropy", "log_softmax", "scaled_features"}) {
                contest.form(form, "", form, torch.tensors(z, prototypes, targets, dloss), torch.number(TEMPERATURE));
            }
        });
    }

    private static Runnable product(DeviceState device, Operand a, Operand b, Operand c) {
        Matmul product = Matmul.of(a, b, c);
        MemorySegment workspace = device.bytes(product.workspace(device.stream));
        return () -> product.run(device.stream, workspace);
    }

    private static Operand transposed(Operand matrix) {
        Layout layout = matrix.layout();
        return new Operand(
                matrix.segment(),
                Layout.strided(DType.F32, new long[] {layout.size(1), layout.size(0)}, new long[] {1, layout.size(1)}));
    }

    private static Operand unit(DeviceState device, long seed, long rows, long features) {
        Operand x = device.normal(seed, rows, features);
        Operand y = device.empty(DType.F32, rows, features);
        L2Normalize.forward(device.stream, x, y, device.empty(DType.F32, rows), 1e-12f);
        return y;
    }
}
