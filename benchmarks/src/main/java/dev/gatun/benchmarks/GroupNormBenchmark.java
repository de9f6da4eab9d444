// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.GroupNorm;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
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

/** The ceiling beside it is {@link #ceiling}: copying the same memory. Backward reads x and dy and writes dx. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class GroupNormBenchmark {
    @Param("64x784x64")
    public String shape;

    private Operand x;
    private Operand y;
    private Operand dx;
    private Operand mean;
    private Operand rstd;
    private Operand gamma;
    private Operand beta;
    private Operand dgamma;
    private Operand dbeta;
    private Operand flatX;
    private Operand flatY;
    private MemorySegment workspace;

    @Setup
    public void setup(DeviceState device) {
        long[] dimensions = Shapes.parse(shape);
        x = device.normal(1, dimensions);
        y = device.empty(DType.F32, dimensions);
        dx = device.empty(DType.F32, dimensions);
        mean = device.empty(DType.F32, dimensions[0], 32);
        rstd = device.empty(DType.F32, dimensions[0], 32);
        gamma = device.normal(2, dimensions[2]);
        beta = device.normal(3, dimensions[2]);
        dgamma = device.empty(DType.F32, dimensions[2]);
        dbeta = device.empty(DType.F32, dimensions[2]);
        flatX = new Operand(x.segment(), Layout.of(DType.F32, x.layout().elements()));
        flatY = new Operand(y.segment(), Layout.of(DType.F32, y.layout().elements()));
        long bytes = GroupNorm.backwardWorkspace(device.stream, 32, x, gamma, mean, rstd, y, dx, dgamma, dbeta);
        workspace = device.empty(DType.U8, bytes).segment();
    }

    @Benchmark
    public void ceiling(DeviceState device) {
        Ceiling.copy(device.stream, flatX, flatY);
    }

    @Benchmark
    public void forward(DeviceState device) {
        GroupNorm.forward(device.stream, 1e-5f, 32, x, gamma, beta, y, mean, rstd, workspace);
    }

    @Benchmark
    public void forwardBackward(DeviceState device) {
        forward(device);
        GroupNorm.backward(device.stream, 32, x, gamma, mean, rstd, y, dx, dgamma, dbeta, workspace);
    }
}
