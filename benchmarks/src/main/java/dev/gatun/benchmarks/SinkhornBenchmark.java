// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.L2Normalize;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Matmul;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Sinkhorn;
import java.lang.foreign.MemorySegment;
import org.openjdk.jmh.annotations.Param;

/** Codes of samples over prototypes: SwAV's own form, and the best eager form that was found, which takes exponentials once and then scales with
 * matrix-vector products. Two passes start from features of 128 dimensions, as their peers do with a product before: "product" writes the scores and
 * then their codes, as the peers do; "streaming" never holds them, in memory that does not grow with their number. */
public class SinkhornBenchmark extends Comparison {
    private static final float EPSILON = 0.05f;
    private static final int ITERATIONS = 3;
    private static final long FEATURES = 128;

    @Param({"256x3000", "2048x512", "4096x3000", "16384x3000"})
    public String shape;

    @Param({"codes", "product", "streaming"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand features = unit(device, 1, n[0]);
        Operand prototypes = unit(device, 2, n[1]);
        Operand codes = device.empty(DType.F32, n);
        double bytes = codes.layout().spanBytes();
        contest.tolerance(1e-3);
        if (pass.equals("codes")) {
            boolean large = n[0] * n[1] > 1 << 22;
            // cosines of random features would all be near 0
            Operand scores = device.normal(3, n);
            for (long i = 0; i < scores.layout().elements(); i++) {
                float value = scores.segment().getAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, i);
                scores.segment().setAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, i, Math.clamp(0.3f * value, -1f, 1f));
            }
            MemorySegment workspace = device.bytes(Sinkhorn.workspace(device.stream, scores));
            contest.costs(0, 2 * bytes)
                    .target("swav", large ? 4 : 7)
                    .target("vectors", large ? 1.6 : 2.7)
                    .ours(() -> Sinkhorn.codes(device.stream, scores, codes, EPSILON, ITERATIONS, workspace), codes);
            contest.torch().ifPresent(torch -> {
                contest.form("swav", torch.tensor(scores), torch.number(EPSILON));
                contest.form("vectors", torch.tensor(scores), torch.number(EPSILON));
            });
            return;
        }
        contest.torch().ifPresent(torch ->
                contest.form("product+vectors", "", "features", torch.tensors(features, prototypes), torch.number(EPSILON)));
        if (pass.equals("product")) {
            Operand scores = device.empty(DType.F32, n);
            Matmul product = Matmul.of(
                    features,
                    new Operand(prototypes.segment(), Layout.strided(DType.F32, new long[] {FEATURES, n[1]}, new long[] {1, FEATURES})),
                    scores);
            MemorySegment memory = device.bytes(product.workspace(device.stream));
            MemorySegment workspace = device.bytes(Sinkhorn.workspace(device.stream, scores));
            contest.costs(2.0 * n[0] * n[1] * FEATURES, 2 * bytes)
                    .ours(
                            () -> {
                                product.run(device.stream, memory);
                                Sinkhorn.codes(device.stream, scores, codes, EPSILON, ITERATIONS, workspace);
                            },
                            codes);
            return;
        }
        Sinkhorn.Potentials potentials = new Sinkhorn.Potentials(device.empty(DType.F32, n[0]), device.empty(DType.F32, n[1]));
        MemorySegment workspace = device.bytes(Sinkhorn.streamingWorkspace(device.stream, features, prototypes, potentials));
        contest.costs(2.0 * n[0] * n[1] * FEATURES * (2 * ITERATIONS + 1), bytes)
                .ours(
                        () -> {
                            Sinkhorn.streaming(device.stream, features, prototypes, potentials, EPSILON, ITERATIONS, workspace);
                            Sinkhorn.streamingCodes(device.stream, features, prototypes, potentials, codes, EPSILON, workspace);
                        },
                        codes);
    }

    private static Operand unit(DeviceState device, long seed, long rows) {
        Operand x = device.normal(seed, rows, FEATURES);
        Operand y = device.empty(DType.F32, rows, FEATURES);
        L2Normalize.forward(device.stream, x, y, device.empty(DType.F32, rows), 1e-12f);
        return y;
    }
}
