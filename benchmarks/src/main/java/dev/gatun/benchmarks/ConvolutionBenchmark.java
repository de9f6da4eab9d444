// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.Convolution;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
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

/**
 * Floating-point operations a second (column flops), beside the peak of multiply-adds from registers ({@link #ceiling}). The count is the
 * usual one, 2 · B · OH · OW · O · KH · KW · C / groups: it contains products with padding. Layers with one or few input channels and
 * depthwise ones are limited by memory, not by this ceiling; for them see the copy of {@link PoolingBenchmark}.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class ConvolutionBenchmark {
    /** Work done in an iteration; JMH divides it by the time. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double flops;

        @Setup(Level.Iteration)
        public void clear() {
            flops = 0;
        }
    }

    /** Batch, size, channels, outputs, kernel, stride, padding, groups: the small encoder's layers, then those of residual networks. */
    @Param({
        "256x28x1x24x3x2x1x1",
        "256x14x24x48x3x2x1x1",
        "256x7x48x128x3x2x1x1",
        "64x7x96x192x3x1x1x1",
        "64x28x64x64x3x1x1x1",
        "64x14x256x64x1x1x0x1",
        "4x224x3x64x7x2x3x1",
        "64x14x192x192x3x1x1x192",
        "64x14x96x96x7x1x3x96"
    })
    public String layer;

    private Convolution.Geometry geometry;
    private Operand x;
    private Operand weights;
    private Operand bias;
    private Operand y;
    private Operand dx;
    private Operand dweights;
    private Operand dbias;
    private MemorySegment workspace;
    private double flops;

    @Setup
    public void setup(DeviceState device) {
        long[] n = Shapes.parse(layer);
        geometry = Convolution.Geometry.of((int) n[5], (int) n[6], 1, (int) n[7]);
        long size = geometry.outputHeight(n[1], n[4]);
        x = device.normal(1, n[0], n[1], n[1], n[2]);
        weights = device.normal(2, n[3], n[4], n[4], n[2] / n[7]);
        bias = device.normal(3, n[3]);
        y = device.normal(4, n[0], size, size, n[3]);
        dx = device.empty(DType.F32, n[0], n[1], n[1], n[2]);
        dweights = device.empty(DType.F32, n[3], n[4], n[4], n[2] / n[7]);
        dbias = device.empty(DType.F32, n[3]);
        long bytes = Math.max(
                Convolution.forwardWorkspace(device.stream, x, weights, bias, y, geometry),
                Math.max(
                        Convolution.backwardDataWorkspace(device.stream, y, weights, dx, geometry),
                        Convolution.backwardWeightsWorkspace(device.stream, x, y, dweights, dbias, geometry)));
        workspace = device.empty(DType.U8, bytes).segment();
        flops = 2.0 * n[0] * size * size * n[3] * n[4] * n[4] * n[2] / n[7];
    }

    @Benchmark
    public void ceiling(DeviceState device, Work work) {
        work.flops += Ceiling.fma(device.stream, 100_000);
    }

    @Benchmark
    public void forward(DeviceState device, Work work) {
        Convolution.forward(device.stream, x, weights, bias, y, geometry, workspace);
        work.flops += flops;
    }

    @Benchmark
    public void backwardData(DeviceState device, Work work) {
        Convolution.backwardData(device.stream, y, weights, dx, geometry, workspace);
        work.flops += flops;
    }

    @Benchmark
    public void backwardWeights(DeviceState device, Work work) {
        Convolution.backwardWeights(device.stream, x, y, dweights, dbias, geometry, workspace);
        work.flops += flops;
    }
}
