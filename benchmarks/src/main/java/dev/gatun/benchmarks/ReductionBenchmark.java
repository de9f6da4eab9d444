// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Reduction;
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

/** The ceiling beside it is {@link #ceiling}: copying the same memory, which moves twice the bytes. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class ReductionBenchmark {
    @Param({"12608x192", "200704x64"})
    public String shape;

    private Operand x;
    private Operand rows;
    private Operand columns;
    private Operand all;
    private Operand count;
    private Operand flatX;
    private Operand flatY;
    private MemorySegment workspace;

    @Setup
    public void setup(DeviceState device) {
        long[] dimensions = Shapes.parse(shape);
        x = device.normal(1, dimensions);
        rows = device.empty(DType.F32, dimensions[0], 1);
        columns = device.empty(DType.F32, dimensions[1]);
        all = device.empty(DType.F32, 1);
        count = device.empty(DType.I32, 1);
        flatX = new Operand(x.segment(), Layout.of(DType.F32, x.layout().elements()));
        flatY = device.empty(DType.F32, x.layout().elements());
        long bytes = Math.max(
                Reduction.workspace(device.stream, Reduction.Kind.SUM, x, columns),
                Reduction.workspace(device.stream, Reduction.Kind.SUM, x, all));
        workspace = device.empty(DType.U8, bytes).segment();
    }

    @Benchmark
    public void ceiling(DeviceState device) {
        Ceiling.copy(device.stream, flatX, flatY);
    }

    @Benchmark
    public void sumOfRows(DeviceState device) {
        Reduction.reduce(device.stream, Reduction.Kind.SUM, x, rows, workspace);
    }

    @Benchmark
    public void sumOfColumns(DeviceState device) {
        Reduction.reduce(device.stream, Reduction.Kind.SUM, x, columns, workspace);
    }

    @Benchmark
    public void sumOfAll(DeviceState device) {
        Reduction.reduce(device.stream, Reduction.Kind.SUM, x, all, workspace);
    }

    @Benchmark
    public void countNonfinite(DeviceState device) {
        Reduction.countNonfinite(device.stream, x, count);
    }
}
