// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.Classifier;
import dev.gatun.learning.LearningException;
import dev.gatun.learning.pipeline.Pipeline;
import picocli.CommandLine.Command;

@Command(
        name = "train",
        description = "Runs a supervised experiment: as pretrain, for a method that learns to predict the labels; ends with its accuracy.",
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "The run's folder is that of pretrain. summary.json has test_accuracy, the part of",
            "the test images whose class the trained head names first (plain images, no",
            "augmentation); the scores of the frozen features stand beside it.",
            "",
            "  gatun train configs/fashion-mnist-supervised.yaml",
            "  gatun train configs/fashion-mnist-cosub.yaml --set model.drop_path=0.2",
            "  gatun train --resume --out runs/fashion-mnist-cosub",
        })
final class TrainCommand extends RunCommand {
    @Override
    void check(Pipeline pipeline) {
        if (!(pipeline.method().provider().create(pipeline.method().settings()) instanceof Classifier)) {
            throw new LearningException("train: method " + pipeline.method().name()
                    + " predicts no classes; gatun pretrain trains it and scores its frozen features");
        }
    }
}
