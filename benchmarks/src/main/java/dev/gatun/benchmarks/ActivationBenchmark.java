// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Activation;
import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
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

/** The ceiling beside it is {@link #ceiling}: copying the same memory. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class ActivationBenchmark {
    @Param({"12608x192", "12608x768"})
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
    public void reluForward(DeviceState device) {
        Activation.forward(device.stream, Activation.Function.RELU, x, y);
    }

    @Benchmark
    public void geluForward(DeviceState device) {
        Activation.forward(device.stream, Activation.Function.GELU, x, y);
    }

    @Benchmark
    public void sigmoidForward(DeviceState device) {
        Activation.forward(device.stream, Activation.Function.SIGMOID, x, y);
    }

    @Benchmark
    public void tanhForward(DeviceState device) {
        Activation.forward(device.stream, Activation.Function.TANH, x, y);
    }

    @Benchmark
    public void reluBackward(DeviceState device) {
        Activation.backward(device.stream, Activation.Function.RELU, x, y, dx);
    }

    @Benchmark
    public void geluBackward(DeviceState device) {
        Activation.backward(device.stream, Activation.Function.GELU, x, y, dx);
    }
}
