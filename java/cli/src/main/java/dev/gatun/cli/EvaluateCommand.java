// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.Pretraining;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
        name = "evaluate",
        description = "Scores a run's checkpoint: nearest neighbours, a linear probe and 10 labels a class, beside raw pixels and the untrained encoder.",
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "  gatun evaluate runs/fashion-mnist-swav",
            "  gatun evaluate runs/pictures --set data.test=/pictures/test",
            "  gatun evaluate runs/short --set evaluation.features=[trained]",
        })
final class EvaluateCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "DIR", description = "The run's folder.")
    Path run;

    @Mixin
    DataOptions data;

    @Override
    public Integer call() {
        try (Progress progress = new Progress(spec.commandLine().getOut(), spec.commandLine().getErr())) {
            Map<String, Scores> scores = Pretraining.evaluate(run, data.overrides(), progress);
            progress.close();
            spec.commandLine().getOut().println(ScoreTable.of(scores));
        }
        return 0;
    }
}
