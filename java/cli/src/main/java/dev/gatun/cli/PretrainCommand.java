// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.pipeline.Pipeline;
import picocli.CommandLine.Command;

@Command(
        name = "pretrain",
        description = "Runs the experiment that a pipeline file describes: trains, evaluates, writes a report.",
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "The run's folder holds config.yaml (every setting resolved), metrics.jsonl,",
            "checkpoint.safetensors, backbone.safetensors, summary.json and report.html; a",
            "run that was there before is replaced. Ctrl-C ends after the current step with",
            "a checkpoint; --resume goes on, to the same bytes as if it had never stopped.",
            "",
            "  gatun pretrain configs/fashion-mnist-swav.yaml --set method.prototypes=200",
            "  gatun pretrain configs/fashion-mnist-swav.yaml --method examples/MyLoss.java",
            "  gatun pretrain --resume --out runs/fashion-mnist-swav",
        })
final class PretrainCommand extends RunCommand {
    @Override
    void check(Pipeline pipeline) {
        // a method that learns from labels has frozen features too
    }
}
