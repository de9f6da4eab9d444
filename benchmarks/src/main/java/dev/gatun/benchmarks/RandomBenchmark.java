// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Random;
import dev.gatun.primitives.RandomKey;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.random.impl.GaussianDistribution;
import org.nd4j.linalg.api.ops.random.impl.UniformDistribution;
import org.openjdk.jmh.annotations.Param;

/** Random numbers. The draws of two generators cannot agree, so nothing is compared but the time. */
public class RandomBenchmark extends Comparison {
    @Param("1000000")
    public long count;

    @Param({"uniform", "normal", "permutation"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        MemorySegment key = device.bytes(RandomKey.BYTES);
        new RandomKey(1, 2, 3).write(key);
        Operand out = device.empty(DType.F32, count);
        Operand order = device.empty(DType.I32, count);
        MemorySegment workspace = device.bytes(Random.permutationWorkspace(device.stream, count, order));
        contest.costs(0, out.layout().spanBytes())
                .ours(
                        switch (pass) {
                            case "uniform" -> () -> Random.uniform(device.stream, key, Operand.NONE, 0, out, 0, 1);
                            case "normal" -> () -> Random.normal(device.stream, key, Operand.NONE, 0, out, 0, 1);
                            default -> () -> Random.permutation(device.stream, key, count, order, workspace);
                        },
                        List::of);
        contest.torch().ifPresent(torch -> contest.formUnchecked(pass, pass, torch.tensor(out)));
        contest.nd4j().filter(nd4j -> !pass.equals("permutation")).ifPresent(nd4j -> {
            INDArray numbers = nd4j.empty(count);
            contest.nd4j(
                    pass,
                    nd4j.call(pass.equals("uniform") ? new UniformDistribution(numbers, 0, 1) : new GaussianDistribution(numbers, 0, 1)));
        });
    }
}
