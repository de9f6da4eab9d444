// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Contest;
import dev.gatun.tensor.layer.DropPath;
import dev.gatun.tensor.layer.TransformerBlock;
import org.openjdk.jmh.annotations.Param;

/** A block of ViT-Ti forward and backward, with the gradients of its input and of all parameters. */
public class VitBlockBenchmark extends NetworkComparison {
    private static final int WIDTH = 192;
    private static final int HEADS = 3;

    /** B x N. */
    @Param({"64x197"})
    public String shape;

    @Override
    protected void prepare(Contest contest) {
        String[] sizes = shape.split("x");
        long batch = Long.parseLong(sizes[0]);
        long tokens = Long.parseLong(sizes[1]);
        DropPath keeps = new DropPath(0, DropPath.Form.MASK);
        TransformerBlock.Settings settings = new TransformerBlock.Settings(WIDTH, HEADS, 4 * WIDTH, 1e-6, 0, true);
        BlockTraining ours = own(BlockTraining.compiled(threads, parameters -> {
            TransformerBlock block = new TransformerBlock(parameters, settings, keeps);
            return block::forward;
        }, batch, tokens, WIDTH));
        contest.costs(StepCosts.vitBlock(batch, tokens, WIDTH, 4), 0).tolerance(1e-3).target(1.35).ours(ours::run, ours::results);
        contest.torch().ifPresent(torch -> contest
                .form("modules", "", "vit_block_backward", Twin.list(torch, contest.script(), ours.operands()), torch.integer(HEADS), torch.integer(0))
                .form("one_by_one", "", "vit_block_backward", Twin.list(torch, contest.script(), ours.operands()), torch.integer(HEADS), torch.integer(1)));
    }
}
