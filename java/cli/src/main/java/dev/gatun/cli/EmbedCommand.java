// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.Pretraining;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
        name = "embed",
        description = "Writes a run's features for use elsewhere: a NumPy file, float32 (images, dimensions), and the labels beside it.",
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "  gatun embed runs/fashion-mnist-swav --out features.npy",
            "  gatun embed runs/pictures --data /other/pictures --out other.npy",
            "",
            "In Python: x = numpy.load('features.npy'); y = numpy.loadtxt('features.labels.txt')",
        })
final class EmbedCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "DIR", description = "The run's folder.")
    Path run;

    @Mixin
    DataOptions data;

    @Option(names = "--part", paramLabel = "train|test",
            description = "Which part of the data. Default: test; with --data, train.")
    @Nullable String part;

    @Option(names = "--out", paramLabel = "FILE.npy", description = "The file to write.", required = true)
    Path file;

    @Override
    public Integer call() {
        try (Progress progress = new Progress(spec.commandLine().getOut(), spec.commandLine().getErr())) {
            String chosen = part != null ? part : data.path != null ? "train" : "test";
            int count = Pretraining.embed(run, data.overrides(), chosen, file, progress);
            progress.close();
            spec.commandLine().getOut().println(count + " images of the part " + chosen + ": " + file);
        }
        return 0;
    }
}
