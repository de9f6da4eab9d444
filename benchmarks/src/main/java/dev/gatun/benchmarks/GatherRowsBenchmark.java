// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatherRows;
import dev.gatun.primitives.Operand;
import java.lang.foreign.ValueLayout;
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

/** The ceiling beside it is {@link #copy}: as many bytes, one after the other, by one thread. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class GatherRowsBenchmark {
    @Param("256x9408")
    public String shape;

    private Operand x;
    private Operand indices;
    private Operand y;

    @Setup
    public void setup(DeviceState device) {
        long[] dimensions = Shapes.parse(shape);
        x = device.normal(1, dimensions);
        y = device.empty(DType.F32, dimensions);
        indices = device.empty(DType.I32, dimensions[0]);
        for (int i = 0; i < dimensions[0]; i++) {
            indices.segment().setAtIndex(ValueLayout.JAVA_INT, i, (int) ((i * 77L + 5) % dimensions[0]));
        }
    }

    @Benchmark
    public void forward(DeviceState device) {
        GatherRows.forward(device.stream, x, indices, y);
    }

    @Benchmark
    public void backward(DeviceState device) {
        GatherRows.backward(device.stream, x, indices, y);
    }

    @Benchmark
    public void copy() {
        y.segment().copyFrom(x.segment());
    }
}
