// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Kmeans;
import dev.gatun.primitives.Operand;
import java.lang.foreign.Arena;
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

/** Rows x centroids x dimension. Assignment is 2 N K D operations for dot products and 3 N K D for distances. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class KmeansBenchmark {
    @Param("10000x100x128")
    public String shape;

    private Operand rows;
    private Operand centroids;
    private Operand assignment;
    private Operand score;
    private Operand sums;
    private Operand counts;
    private MemorySegment assignWorkspace;
    private MemorySegment sumsWorkspace;

    @Setup
    public void setup(DeviceState device) {
        long[] sizes = Shapes.parse(shape);
        rows = device.normal(1, sizes[0], sizes[2]);
        centroids = device.normal(2, sizes[1], sizes[2]);
        assignment = device.empty(DType.I32, sizes[0]);
        score = device.empty(DType.F32, sizes[0]);
        sums = device.empty(DType.F32, sizes[1], sizes[2]);
        counts = device.empty(DType.I64, sizes[1]);
        long bytes = Kmeans.assignWorkspace(device.stream, rows, centroids, assignment, score);
        assignWorkspace = Arena.ofAuto().allocate(bytes, 64);
        bytes = Kmeans.sumsWorkspace(device.stream, rows, assignment, sums, counts);
        sumsWorkspace = Arena.ofAuto().allocate(bytes, 64);
        Kmeans.assign(device.stream, rows, centroids, assignment, score, false, assignWorkspace);
    }

    @Benchmark
    public void assign(DeviceState device) {
        Kmeans.assign(device.stream, rows, centroids, assignment, score, false, assignWorkspace);
    }

    @Benchmark
    public void assignSpherical(DeviceState device) {
        Kmeans.assign(device.stream, rows, centroids, assignment, score, true, assignWorkspace);
    }

    @Benchmark
    public void sums(DeviceState device) {
        Kmeans.sums(device.stream, rows, assignment, sums, counts, sumsWorkspace);
    }
}
