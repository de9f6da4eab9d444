// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.InfoNce;
import dev.gatun.primitives.InfoNce.Gradients;
import dev.gatun.primitives.InfoNce.Inputs;
import dev.gatun.primitives.InfoNce.Result;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.CrossEntropy;
import dev.gatun.tensor.function.L2Normalize;
import java.lang.foreign.MemorySegment;
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
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * SimCLR's loss on N normalised rows of D elements, beside the same composed of tensors (a GEMM, the diagonal masked, cross-entropy with
 * the twin as label: three N×N matrices in memory) and the peak of multiply-adds. Column flops counts two operations for each of N²·D
 * multiply-adds forward (scores) and N²·D backward (gradient of the rows), for both; what is recomputed or saved by symmetry is not
 * counted.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class InfoNceBenchmark {
    private static final float TEMPERATURE = 0.2f;

    /** N x D. */
    @Param({"512x64", "8192x128"})
    public String shape;

    private Inputs inputs;
    private Result result;
    private Operand dloss;
    private Gradients gradients;
    private MemorySegment forwardWorkspace;
    private MemorySegment backwardWorkspace;
    private double productFlops;

    /** The composed form: made only where it is measured. */
    @State(Scope.Thread)
    public static class Composed {
        private Device device;
        private Tensor z;
        private Tensor twins;
        private Tensor mask;

        @Setup
        public void open(InfoNceBenchmark loss, DeviceState state) {
            device = Device.cpu(state.threads);
            int n = (int) loss.inputs.q().layout().size(0);
            z = device.scope().of(loss.inputs.q().segment().toArray(ValueLayout.JAVA_FLOAT), n, loss.inputs.q().layout().size(1));
            int[] labels = new int[n];
            mask = device.scope().zeros(n, n);
            for (int i = 0; i < n; i++) {
                labels[i] = (i + n / 2) % n;
                mask.segment().setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * n + i, Float.NEGATIVE_INFINITY);
            }
            twins = device.scope().ofInts(labels, n);
        }

        @TearDown
        public void close() {
            device.close();
        }

        private Tensor loss(Tensor rows) {
            return CrossEntropy.apply(rows.matmulTransposed(rows).add(mask), twins, TEMPERATURE);
        }
    }

    @Setup
    public void setup(DeviceState device) {
        long[] n = Shapes.parse(shape);
        Operand rows = device.empty(DType.F32, n);
        try (Device maker = Device.cpu(1)) {
            float[] values = device.normal(1, n).segment().toArray(ValueLayout.JAVA_FLOAT);
            float[] unit = L2Normalize.apply(maker.scope().of(values, n)).toArray();
            MemorySegment.copy(unit, 0, rows.segment(), ValueLayout.JAVA_FLOAT, 0, unit.length);
        }
        Operand groups = device.empty(DType.I32, n[0]);
        for (int i = 0; i < n[0]; i++) {
            groups.segment().setAtIndex(ValueLayout.JAVA_INT, i, (int) (i % (n[0] / 2)));
        }
        inputs = Inputs.self(rows, groups, TEMPERATURE);
        result = new Result(device.empty(DType.F32, n[0]), device.empty(DType.F32, n[0]), device.empty(DType.I32, n[0]));
        dloss = device.normal(2, n[0]);
        gradients = new Gradients(device.empty(DType.F32, n), Operand.NONE);
        forwardWorkspace = bytes(device, InfoNce.forwardWorkspace(device.stream, inputs, result));
        backwardWorkspace = bytes(
                device,
                InfoNce.backwardWorkspace(device.stream, inputs, result.lse(), result.positives(), dloss, gradients));
        productFlops = 2.0 * n[0] * n[0] * n[1];
    }

    private static MemorySegment bytes(DeviceState device, long count) {
        return device.empty(DType.U8, count).segment();
    }

    @Benchmark
    public void forward(DeviceState device, CeilingBenchmark.Work work) {
        InfoNce.forward(device.stream, inputs, result, forwardWorkspace);
        work.flops += productFlops;
    }

    @Benchmark
    public void forwardBackward(DeviceState device, CeilingBenchmark.Work work) {
        InfoNce.forward(device.stream, inputs, result, forwardWorkspace);
        InfoNce.backward(
                device.stream, inputs, result.lse(), result.positives(), dloss, gradients, backwardWorkspace);
        work.flops += 2 * productFlops;
    }

    @Benchmark
    public float composedForward(Composed composed, CeilingBenchmark.Work work) {
        work.flops += productFlops;
        try (dev.gatun.tensor.Scope step = composed.device.scope().open()) {
            return composed.loss(step.attach(composed.z)).item();
        }
    }

    @Benchmark
    public float composedForwardBackward(Composed composed, CeilingBenchmark.Work work) {
        work.flops += 2 * productFlops;
        try (dev.gatun.tensor.Scope step = composed.device.scope().open()) {
            Tape tape = Tape.on(step);
            Tensor loss = composed.loss(tape.watch(composed.z));
            tape.backward(loss);
            return loss.item();
        }
    }

    @Benchmark
    public void peak(DeviceState device, CeilingBenchmark.Work work) {
        work.flops += Ceiling.fma(device.stream, 100_000);
    }
}
