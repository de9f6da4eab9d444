// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Attention;
import dev.gatun.primitives.Attention.Gradients;
import dev.gatun.primitives.Attention.Inputs;
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

/**
 * Attention on views of one (B, N, 3, H, D) buffer, beside the peak of multiply-adds in the same run. Column flops counts two products of
 * N²·D forward and five backward, the causal half of them with causal = true; what is recomputed or padded does not count.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class AttentionBenchmark {
    /** B x H x N x D. */
    @Param({"64x3x197x64", "64x6x50x64", "64x3x37x64", "8x12x257x64"})
    public String shape;

    @Param("false")
    public boolean causal;

    private Inputs inputs;
    private Operand out;
    private Operand logSumExp;
    private Operand dout;
    private Gradients gradients;
    private MemorySegment forwardWorkspace;
    private MemorySegment backwardWorkspace;
    private double productFlops;

    @Setup
    public void setup(DeviceState device) {
        long[] n = Shapes.parse(shape);
        long batch = n[0];
        long heads = n[1];
        long tokens = n[2];
        long depth = n[3];
        Operand qkv = device.normal(1, batch, tokens, 3, heads, depth);
        Operand dqkv = device.empty(DType.F32, batch, tokens, 3, heads, depth);
        Inputs plain = Inputs.batched(part(qkv, 0), part(qkv, 1), part(qkv, 2), (float) (1 / Math.sqrt(depth)));
        inputs = causal ? plain.asCausal() : plain;
        out = device.empty(DType.F32, batch, tokens, heads, depth);
        logSumExp = device.empty(DType.F32, batch, heads, tokens);
        dout = device.normal(2, batch, tokens, heads, depth);
        gradients = new Gradients(part(dqkv, 0), part(dqkv, 1), part(dqkv, 2));
        forwardWorkspace = bytes(device, Attention.forwardWorkspace(device.stream, inputs, out, logSumExp));
        backwardWorkspace =
                bytes(device, Attention.backwardWorkspace(device.stream, inputs, out, logSumExp, dout, gradients));
        productFlops = 2.0 * batch * heads * tokens * (causal ? (tokens + 1) / 2.0 : tokens) * depth;
    }

    private static MemorySegment bytes(DeviceState device, long count) {
        return device.empty(DType.U8, count).segment();
    }

    private static Operand part(Operand qkv, int part) {
        Layout all = qkv.layout();
        Layout layout = Layout.strided(
                DType.F32,
                new long[] {all.size(0), all.size(1), all.size(3), all.size(4)},
                new long[] {all.stride(0), all.stride(1), all.stride(3), 1});
        return new Operand(qkv.segment().asSlice(part * all.stride(2) * Float.BYTES), layout);
    }

    @Benchmark
    public void forward(DeviceState device, CeilingBenchmark.Work work) {
        Attention.forward(device.stream, inputs, out, logSumExp, forwardWorkspace);
        work.flops += 2 * productFlops;
    }

    @Benchmark
    public void forwardBackward(DeviceState device, CeilingBenchmark.Work work) {
        Attention.forward(device.stream, inputs, out, logSumExp, forwardWorkspace);
        Attention.backward(device.stream, inputs, out, logSumExp, dout, gradients, backwardWorkspace);
        work.flops += 7 * productFlops;
    }

    @Benchmark
    public void peak(DeviceState device, CeilingBenchmark.Work work) {
        work.flops += Ceiling.fma(device.stream, 100_000);
    }
}
