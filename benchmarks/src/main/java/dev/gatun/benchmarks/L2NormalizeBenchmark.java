// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.L2Normalize;
import dev.gatun.primitives.Operand;
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

@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class L2NormalizeBenchmark {
    @Param("4096x128")
    public String shape;

    private Operand x;
    private Operand y;
    private Operand norm;
    private Operand dx;

    @Setup
    public void setup(DeviceState device) {
        long[] dimensions = Shapes.parse(shape);
        x = device.normal(1, dimensions);
        y = device.empty(DType.F32, dimensions);
        norm = device.empty(DType.F32, dimensions[0]);
        dx = device.empty(DType.F32, dimensions);
    }

    @Benchmark
    public void forward(DeviceState device) {
        L2Normalize.forward(device.stream, x, y, norm, 1e-12f);
    }

    @Benchmark
    public void forwardBackward(DeviceState device) {
        L2Normalize.forward(device.stream, x, y, norm, 1e-12f);
        L2Normalize.backward(device.stream, y, norm, x, dx, 1e-12f);
    }
}
