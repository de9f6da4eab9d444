// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.BatchNorm;
import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
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

/** The ceiling beside it is {@link #ceiling}: copying the same memory. Forward reads x twice and writes y; backward reads x and
 * dy twice and writes dx. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class BatchNormBenchmark {
    @Param({"200704x64", "50176x128"})
    public String shape;

    private Operand x;
    private Operand y;
    private Operand dx;
    private Operand mean;
    private Operand centered;
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
        mean = device.empty(DType.F32, dimensions[1]);
        centered = device.empty(DType.F32, dimensions[1]);
        rstd = device.empty(DType.F32, dimensions[1]);
        gamma = device.normal(2, dimensions[1]);
        beta = device.normal(3, dimensions[1]);
        dgamma = device.empty(DType.F32, dimensions[1]);
        dbeta = device.empty(DType.F32, dimensions[1]);
        flatX = new Operand(x.segment(), Layout.of(DType.F32, x.layout().elements()));
        flatY = new Operand(y.segment(), Layout.of(DType.F32, y.layout().elements()));
        long bytes = BatchNorm.statisticsWorkspace(device.stream, x, mean, centered);
        workspace = device.empty(DType.U8, bytes).segment();
    }

    @Benchmark
    public void ceiling(DeviceState device) {
        Ceiling.copy(device.stream, flatX, flatY);
    }

    @Benchmark
    public void forward(DeviceState device) {
        long rows = x.layout().size(0);
        BatchNorm.statistics(device.stream, x, mean, centered, workspace);
        BatchNorm.forward(
                device.stream, true, rows, 1e-5, x, mean, centered, gamma, beta, Operand.NONE, Operand.NONE, Operand.NONE, rstd, y);
    }

    @Benchmark
    public void inference(DeviceState device) {
        BatchNorm.inference(device.stream, true, 1e-5, x, mean, centered, gamma, beta, y);
    }

    @Benchmark
    public void forwardBackward(DeviceState device) {
        forward(device);
        long rows = x.layout().size(0);
        BatchNorm.backwardSums(device.stream, true, x, mean, rstd, gamma, beta, y, dgamma, dbeta, workspace);
        BatchNorm.backward(device.stream, true, rows, x, mean, rstd, gamma, beta, y, dgamma, dbeta, dx);
    }
}
