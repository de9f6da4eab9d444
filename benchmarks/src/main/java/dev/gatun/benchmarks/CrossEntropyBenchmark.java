// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.CrossEntropy;
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

/** The ceiling beside it is {@link #ceiling}: copying memory of the size of the logits. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class CrossEntropyBenchmark {
    @Param({"256x3000", "8192x300"})
    public String shape;

    private Operand logits;
    private Operand targets;
    private Operand loss;
    private Operand lse;
    private Operand dloss;
    private Operand dlogits;
    private Operand flatX;
    private Operand flatY;

    @Setup
    public void setup(DeviceState device) {
        long[] dimensions = Shapes.parse(shape);
        logits = device.normal(1, dimensions);
        targets = device.empty(DType.F32, dimensions);
        Softmax.forward(device.stream, 1, device.normal(2, dimensions), targets);
        loss = device.empty(DType.F32, dimensions[0]);
        lse = device.empty(DType.F32, dimensions[0]);
        dloss = device.normal(3, dimensions[0]);
        dlogits = device.empty(DType.F32, dimensions);
        flatX = new Operand(logits.segment(), Layout.of(DType.F32, logits.layout().elements()));
        flatY = new Operand(dlogits.segment(), Layout.of(DType.F32, logits.layout().elements()));
    }

    @Benchmark
    public void ceiling(DeviceState device) {
        Ceiling.copy(device.stream, flatX, flatY);
    }

    @Benchmark
    public void forward(DeviceState device) {
        CrossEntropy.forward(device.stream, 0.1f, logits, targets, loss, lse);
    }

    @Benchmark
    public void forwardBackward(DeviceState device) {
        CrossEntropy.forward(device.stream, 0.1f, logits, targets, loss, lse);
        CrossEntropy.backward(device.stream, 0.1f, logits, targets, dloss, dlogits);
    }
}
