// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Pooling;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** Bytes a second that have to be moved at least (column bytes), beside copying x ({@link #ceiling}). */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class PoolingBenchmark {
    /** Work done in an iteration; JMH divides it by the time. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double bytes;

        @Setup(Level.Iteration)
        public void clear() {
            bytes = 0;
        }
    }

    /** Batch, size, channels, window, stride, padding: a residual network's stem, halving, and global pooling. */
    @Param({"8x112x64x3x2x1", "64x28x64x2x2x0", "256x4x128x4x1x0"})
    public String shape;

    private Pooling.Window window;
    private Operand x;
    private Operand y;
    private Operand argmax;
    private Operand dx;
    private Operand flatX;
    private Operand flatDx;

    @Setup
    public void setup(DeviceState device) {
        long[] n = Shapes.parse(shape);
        window = Pooling.Window.of((int) n[3], (int) n[4], (int) n[5]);
        long size = window.outputHeight(n[1]);
        x = device.normal(1, n[0], n[1], n[1], n[2]);
        y = device.empty(DType.F32, n[0], size, size, n[2]);
        argmax = device.empty(DType.I32, n[0], size, size, n[2]);
        dx = device.empty(DType.F32, n[0], n[1], n[1], n[2]);
        flatX = new Operand(x.segment(), Layout.of(DType.F32, x.layout().elements()));
        flatDx = new Operand(dx.segment(), Layout.of(DType.F32, dx.layout().elements()));
        Pooling.max(device.stream, x, y, argmax, window);
    }

    private double bytes(Operand... operands) {
        double sum = 0;
        for (Operand operand : operands) {
            sum += operand.layout().spanBytes();
        }
        return sum;
    }

    @Benchmark
    public void ceiling(DeviceState device, Work work) {
        Ceiling.copy(device.stream, flatX, flatDx);
        work.bytes += bytes(x, dx);
    }

    @Benchmark
    public void max(DeviceState device, Work work) {
        Pooling.max(device.stream, x, y, argmax, window);
        work.bytes += bytes(x, y, argmax);
    }

    @Benchmark
    public void maxBackward(DeviceState device, Work work) {
        Pooling.maxBackward(device.stream, y, argmax, dx, window);
        work.bytes += bytes(y, argmax, dx);
    }

    @Benchmark
    public void average(DeviceState device, Work work) {
        Pooling.average(device.stream, x, y, window, false);
        work.bytes += bytes(x, y);
    }

    @Benchmark
    public void averageBackward(DeviceState device, Work work) {
        Pooling.averageBackward(device.stream, y, dx, window, false);
        work.bytes += bytes(y, dx);
    }
}
