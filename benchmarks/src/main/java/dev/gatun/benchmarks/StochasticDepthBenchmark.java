// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.RandomKey;
import dev.gatun.primitives.StochasticDepth;
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

/** The ceiling beside it is {@link #copy}: reading and writing x once, by one thread. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class StochasticDepthBenchmark {
    @Param("64x197x192")
    public String shape;

    @Param("0.2")
    public float rate;

    private MemorySegment key;
    private MemorySegment workspace;
    private Operand x;
    private Operand residual;
    private Operand some;
    private Operand indices;
    private Operand mask;
    private Operand gamma;
    private Operand y;
    private float scale;

    @Setup
    public void setup(DeviceState device) {
        long[] dimensions = Shapes.parse(shape);
        int samples = (int) dimensions[0];
        int kept = StochasticDepth.kept(samples, rate);
        scale = (float) samples / kept;
        key = Arena.ofAuto().allocate(RandomKey.BYTES, 8);
        new RandomKey(1, 2, 3).write(key);
        x = device.normal(1, dimensions);
        residual = device.normal(2, dimensions);
        y = device.empty(DType.F32, dimensions);
        some = device.normal(3, kept, dimensions[1], dimensions[2]);
        gamma = device.normal(4, dimensions[2]);
        mask = device.empty(DType.F32, samples);
        indices = device.empty(DType.I32, kept);
        workspace = Arena.ofAuto().allocate(StochasticDepth.subsetWorkspace(device.stream, samples, indices), 64);
    }

    @Benchmark
    public void masked(DeviceState device) {
        StochasticDepth.mask(device.stream, key, Operand.NONE, 0, mask, rate);
        StochasticDepth.forward(device.stream, x, residual, Operand.NONE, mask, gamma, y, 1);
    }

    @Benchmark
    public void subset(DeviceState device) {
        StochasticDepth.subset(device.stream, key, Operand.NONE, 0, mask.layout().size(0), indices, workspace);
        StochasticDepth.forward(device.stream, x, some, indices, Operand.NONE, gamma, y, scale);
    }

    @Benchmark
    public void copy() {
        y.segment().copyFrom(x.segment());
    }
}
