// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Random;
import dev.gatun.primitives.RandomKey;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** The ceiling beside it is {@link #fill}: writing the same memory without drawing anything. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class RandomBenchmark {
    @Param("1000000")
    public long count;

    private MemorySegment key;
    private Operand out;
    private Operand order;
    private MemorySegment workspace;

    @Setup
    public void setup(DeviceState device) {
        key = Arena.ofAuto().allocate(RandomKey.BYTES, 8);
        new RandomKey(1, 2, 3).write(key);
        out = device.empty(DType.F32, count);
        order = device.empty(DType.I32, count);
        workspace = Arena.ofAuto().allocate(Random.permutationWorkspace(device.stream, count, order), 64);
    }

    @Benchmark
    public void uniform(DeviceState device) {
        Random.uniform(device.stream, key, Operand.NONE, 0, out, 0, 1);
    }

    @Benchmark
    public void normal(DeviceState device) {
        Random.normal(device.stream, key, Operand.NONE, 0, out, 0, 1);
    }

    @Benchmark
    public void permutation(DeviceState device) {
        Random.permutation(device.stream, key, count, order, workspace);
    }

    @Benchmark
    public void fill() {
        out.segment().fill((byte) 1);
    }
}
