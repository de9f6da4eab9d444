// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.benchmarks.nd4j.Nd4jPeer;
import dev.gatun.benchmarks.torch.Torch;
import dev.gatun.primitives.Attention;
import dev.gatun.primitives.Attention.Gradients;
import dev.gatun.primitives.Attention.Inputs;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.openjdk.jmh.annotations.Param;

/**
 * Attention: ours on views of one (B, N, 3, H, D) buffer, the peer's on contiguous heads, which it likes best. Two products of N²·D count forward and
 * five more backward, the causal half of them with causal; what is recomputed or padded does not count.
 */
public class AttentionBenchmark extends Comparison {
    /** ND4J's attention takes seconds a call from here on. */
    private static final long ND4J_TOKENS = 100;

    /** B x H x N x D, with "c" causal. */
    @Param({"64x3x197x64", "64x6x50x64", "64x3x37x64", "8x12x257x64", "4x12x1024x64c"})
    public String shape;

    @Param({"forward", "forwardBackward"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        boolean causal = shape.endsWith("c");
        long[] n = Shapes.parse(shape.replace("c", ""));
        long batch = n[0];
        long heads = n[1];
        long tokens = n[2];
        long depth = n[3];
        Operand qkv = device.normal(1, batch, tokens, 3, heads, depth);
        Operand dqkv = device.empty(DType.F32, batch, tokens, 3, heads, depth);
        Inputs plain = Inputs.batched(part(qkv, 0), part(qkv, 1), part(qkv, 2), (float) (1 / Math.sqrt(depth)));
        Inputs inputs = causal ? plain.asCausal() : plain;
        Operand out = device.empty(DType.F32, batch, tokens, heads, depth);
        Operand logSumExp = device.empty(DType.F32, batch, heads, tokens);
        MemorySegment forwardWorkspace = device.bytes(Attention.forwardWorkspace(device.stream, inputs, out, logSumExp));
        target(contest, causal, tokens);
        double product = 2.0 * batch * heads * tokens * (causal ? (tokens + 1) / 2.0 : tokens) * depth;
        double values = 4.0 * batch * heads * tokens * depth;
        if (pass.equals("forward")) {
            contest.costs(2 * product, 4 * values)
                    .ours(() -> Attention.forward(device.stream, inputs, out, logSumExp, forwardWorkspace), out);
        } else {
            Operand dout = device.normal(2, batch, tokens, heads, depth);
            Gradients gradients = new Gradients(part(dqkv, 0), part(dqkv, 1), part(dqkv, 2));
            MemorySegment backwardWorkspace =
                    device.bytes(Attention.backwardWorkspace(device.stream, inputs, out, logSumExp, dout, gradients));
            contest.costs(7 * product, 8 * values).ours(
                    () -> {
                        Attention.forward(device.stream, inputs, out, logSumExp, forwardWorkspace);
                        Attention.backward(device.stream, inputs, out, logSumExp, dout, gradients, backwardWorkspace);
                    },
                    out, dqkv);
            contest.torch().ifPresent(torch -> {
                Torch.Value x = contest.script().run("heads_first", torch.tensor(qkv), torch.tensor(dout));
                for (String form : new String[] {"sdpa", "naive"}) {
                    contest.form(form, "tokens_first", form + "_backward", x, torch.integer(causal ? 1 : 0));
                }
            });
            contest.nd4j().filter(nd4j -> !causal && tokens < ND4J_TOKENS).ifPresent(nd4j -> nd4j(contest, nd4j, nd4j.array(qkv), nd4j.array(dout)));
            return;
        }
        contest.torch().ifPresent(torch -> {
            Torch.Value x = contest.script().run("heads_first", torch.tensor(qkv), torch.tensor(out));
            for (String form : new String[] {"sdpa", "naive"}) {
                contest.form(form, "tokens_first", form, x, torch.integer(causal ? 1 : 0));
            }
        });
        contest.nd4j().filter(nd4j -> !causal && tokens < ND4J_TOKENS).ifPresent(nd4j -> nd4j(contest, nd4j, nd4j.array(qkv), nd4j.array(out)));
    }

    /** Its attention has heads of (depth, tokens), and no causal mask. */
    private void nd4j(Contest contest, Nd4jPeer nd4j, INDArray qkv, INDArray dout) {
        List<INDArray> in = new ArrayList<>();
        List<INDArray> gradients = new ArrayList<>();
        for (int part = 0; part < 3; part++) {
            in.add(nd4j.permuted(qkv.get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.point(part)), 0, 2, 3, 1));
            gradients.add(nd4j.empty(in.getFirst().shape()));
        }
        INDArray out = nd4j.empty(in.getFirst().shape());
        Runnable forward = nd4j.call("dot_product_attention", in, List.of(out), 1, 0);
        INDArray tokensFirst = out.permute(0, 3, 1, 2);
        if (pass.equals("forward")) {
            contest.nd4j("dot_product_attention", forward, tokensFirst);
            return;
        }
        in.add(nd4j.permuted(dout, 0, 2, 3, 1));
        Runnable both = nd4j.all(forward, nd4j.call("dot_product_attention_bp", in, gradients, 1));
        contest.nd4j("dot_product_attention", both, tokensFirst);
    }

    private void target(Contest contest, boolean causal, long tokens) {
        boolean backward = !pass.equals("forward");
        if (causal) {
            if (backward) {
                contest.target(2);
            }
        } else if (tokens < 64) {
            contest.target(3);
        } else if (tokens < 256) {
            contest.target(2);
        } else {
            contest.target(backward ? 2.2 : 1.6);
        }
    }

    private static Operand part(Operand qkv, int part) {
        Layout all = qkv.layout();
        Layout layout = Layout.strided(
                DType.F32,
                new long[] {all.size(0), all.size(1), all.size(3), all.size(4)},
                new long[] {all.stride(0), all.stride(1), all.stride(3), 1});
        return new Operand(qkv.segment().asSlice(part * all.stride(2) * Float.BYTES), layout);
    }
}
