// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Elementwise;
import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.L2Normalize;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Optimizer;
import dev.gatun.primitives.Sinkhorn;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What a call of a primitive costs above a bare downcall with everything prepared (the methods whose names begin with {@code bare}), on operands
 * so small that the kernel hardly counts. {@code gc.alloc.rate.norm} of {@code -prof gc} is what it allocates.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(2)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class PrimitiveCallBenchmark {
    private static final MethodHandle OPERATION_2 = BareCall.operation(2);
    private static final MethodHandle OPERATION_3 = BareCall.operation(3);
    private static final MethodHandle WORKSPACE_2 = BareCall.withWorkspace(2);
    private static final float EPSILON = 1e-12f;
    private static final float SHARPNESS = .5f;
    private static final int ITERATIONS = 1;

    private Arena arena;
    private BareCall bare;
    private GatunContext context;
    private GatunStream stream;
    private Operand x;
    private Operand y;
    private Operand norm;
    private Operand step;
    private MemorySegment workspace;
    private MemorySegment advanceDesc;
    private MemorySegment normalizeDesc;
    private MemorySegment sinkhornDesc;
    private MemorySegment advance;
    private MemorySegment normalize;
    private MemorySegment sinkhorn;

    @Setup
    public void setup() {
        // one thread: a team of threads would cost more than the call
        arena = Arena.ofConfined();
        bare = new BareCall(1);
        context = GatunContext.cpu(1);
        stream = context.stream();
        x = matrix();
        y = matrix();
        x.segment().fill((byte) 0);
        x.segment().set(ValueLayout.JAVA_FLOAT, 0, 1);
        norm = new Operand(arena.allocate(8, 64), Layout.of(DType.F32, 2));
        workspace = arena.allocate(Sinkhorn.workspace(stream, x), 64);
        step = new Operand(arena.allocate(8, 64), Layout.of(DType.I64, 1));
        advanceDesc = bare.descriptor(0, new int[0], step, Operand.NONE);
        normalizeDesc = bare.descriptor(EPSILON, new int[0], x, y, norm);
        sinkhornDesc = bare.descriptor(SHARPNESS, new int[] {ITERATIONS, 0}, x, y);
        advance = bare.symbol("gatun_optimizer_advance");
        normalize = bare.symbol("gatun_l2_normalize_forward");
        sinkhorn = bare.symbol("gatun_sinkhorn");
    }

    private Operand matrix() {
        return new Operand(arena.allocate(2 * 8 * Float.BYTES, 64), Layout.of(DType.F32, 2, 8));
    }

    @TearDown
    public void close() {
        stream.close();
        context.close();
        bare.close();
        arena.close();
    }

    /** The least work of all: a number in memory is counted up, by no team of threads. */
    @Benchmark
    public void bareAdvance() throws Throwable {
        bare.require((int) OPERATION_2.invokeExact(advance, bare.stream, advanceDesc, step.segment(), MemorySegment.NULL, bare.error));
    }

    @Benchmark
    public void advance() {
        Optimizer.advance(stream, step, Operand.NONE);
    }

    @Benchmark
    public void bareL2Normalize() throws Throwable {
        bare.require((int) OPERATION_3.invokeExact(
                normalize, bare.stream, normalizeDesc, x.segment(), y.segment(), norm.segment(), bare.error));
    }

    @Benchmark
    public void l2Normalize() {
        L2Normalize.forward(stream, x, y, norm, EPSILON);
    }

    @Benchmark
    public void bareSinkhorn() throws Throwable {
        bare.require((int) WORKSPACE_2.invokeExact(
                sinkhorn, bare.stream, sinkhornDesc, x.segment(), y.segment(), workspace, workspace.byteSize(), bare.error));
    }

    @Benchmark
    public void sinkhorn() {
        Sinkhorn.codes(stream, x, y, SHARPNESS, ITERATIONS, workspace);
    }

    /** As a program has it: several operations with other numbers of operands through the same code. */
    @Benchmark
    public void threeOperations() {
        L2Normalize.forward(stream, x, y, norm, EPSILON);
        Sinkhorn.codes(stream, x, y, SHARPNESS, ITERATIONS, workspace);
        Elementwise.fill(stream, 0, y);
    }
}
