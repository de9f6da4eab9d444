// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Softmax;
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

/** The ceiling beside it is {@link #ceiling}: copying the same memory. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class SoftmaxBenchmark {
    @Param("12608x192")
    public String shape;

    private Operand x;
    private Operand y;
    private Operand dx;
    private Operand flatX;
    private Operand flatY;

    @Setup
    public void setup(DeviceState device) {
        long[] dimensions = Shapes.parse(shape);
        x = device.normal(1, dimensions);
        y = device.empty(DType.F32, dimensions);
        dx = device.empty(DType.F32, dimensions);
        flatX = new Operand(x.segment(), Layout.of(DType.F32, x.layout().elements()));
        flatY = new Operand(y.segment(), Layout.of(DType.F32, y.layout().elements()));
    }

    @Benchmark
    public void ceiling(DeviceState device) {
        Ceiling.copy(device.stream, flatX, flatY);
    }

    @Benchmark
    public void forward(DeviceState device) {
        Softmax.forward(device.stream, 1, x, y);
    }

    @Benchmark
    public void forwardBackward(DeviceState device) {
        Softmax.forward(device.stream, 1, x, y);
        Softmax.backward(device.stream, 1, y, x, dx);
    }
}
