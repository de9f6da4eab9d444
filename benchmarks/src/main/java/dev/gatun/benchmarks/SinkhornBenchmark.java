// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Sinkhorn;
import java.lang.foreign.Arena;
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
import org.openjdk.jmh.annotations.Warmup;

/**
 * The ceiling beside it is {@link #copy}: reading the scores and writing the codes once, by one thread. {@link #streaming} starts from features
 * of 128 dimensions and finds the potentials.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class SinkhornBenchmark {
    @Param({"256x100", "4096x3000"})
    public String shape;

    private Operand scores;
    private Operand codes;
    private MemorySegment workspace;
    private Operand features;
    private Operand prototypes;
    private Sinkhorn.Potentials potentials;
    private MemorySegment streamingWorkspace;

    @Setup
    public void setup(DeviceState device) {
        long[] dimensions = Shapes.parse(shape);
        scores = device.normal(1, dimensions);
        // Scores are cosines: a wider spread would take another path.
        for (long i = 0; i < scores.layout().elements(); i++) {
            float value = scores.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
            scores.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, Math.clamp(0.3f * value, -1f, 1f));
        }
        codes = device.empty(DType.F32, dimensions);
        workspace = Arena.ofAuto().allocate(Sinkhorn.workspace(device.stream, scores), 64);
        features = device.normal(2, dimensions[0], 128);
        prototypes = device.normal(3, dimensions[1], 128);
        for (Operand rows : new Operand[] {features, prototypes}) {
            for (long i = 0; i < rows.layout().elements(); i++) {
                float value = rows.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
                rows.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, value / (float) Math.sqrt(128));
            }
        }
        potentials = new Sinkhorn.Potentials(device.empty(DType.F32, dimensions[0]), device.empty(DType.F32, dimensions[1]));
        streamingWorkspace = Arena.ofAuto()
                .allocate(Sinkhorn.streamingWorkspace(device.stream, features, prototypes, potentials), 64);
    }

    @Benchmark
    public void codes(DeviceState device) {
        Sinkhorn.codes(device.stream, scores, codes, 0.05f, 3, workspace);
    }

    @Benchmark
    public void streaming(DeviceState device) {
        Sinkhorn.streaming(device.stream, features, prototypes, potentials, 0.05f, 3, streamingWorkspace);
    }

    @Benchmark
    public void copy() {
        codes.segment().copyFrom(scores.segment());
    }
}
