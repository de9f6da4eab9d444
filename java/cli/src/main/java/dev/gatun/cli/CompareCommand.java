// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.comparison.Budget;
import dev.gatun.learning.comparison.Comparison;
import dev.gatun.learning.comparison.Contestant;
import dev.gatun.learning.report.ComparisonData;
import dev.gatun.learning.report.ComparisonData.Entrant;
import dev.gatun.learning.report.ComparisonData.Spread;
import dev.gatun.learning.report.ComparisonReport;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
        name = "compare",
        description = "Runs several pipelines under one budget and writes one report of them all.",
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "A budget of seconds is training time, what happens between epochs included; a",
            "short training before each pipeline's first run finds the number of steps, so",
            "that schedules end where they should. A budget of images counts what is drawn.",
            "Runs are folders of DIR, as pretrain leaves them, beside compare.html. The same",
            "command again keeps complete runs and goes on with those that were killed.",
            "",
            "  gatun compare configs/fashion-mnist-s*.yaml --budget 60s --seeds 3",
            "  gatun compare configs/fashion-mnist-swav.yaml \\",
            "      configs/fashion-mnist-swav.yaml:examples/MyLoss.java --budget 500000images",
        })
final class CompareCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "CONFIG.yaml[:METHOD]", arity = "1..*",
            description = "Pipeline files; after a colon another method for one: a name, or a .java file.")
    List<String> configs;

    @Option(names = "--budget", paramLabel = "60s|5m|1h|500000images", required = true, description = "What each run may spend.")
    String budget;

    @Option(names = "--seeds", paramLabel = "N", defaultValue = "1",
            description = "Runs of each pipeline, with its seed and those after it. Default: ${DEFAULT-VALUE}")
    int seeds;

    @Option(names = "--out", paramLabel = "DIR", defaultValue = "runs/compare", description = "The folder. Default: ${DEFAULT-VALUE}")
    Path out;

    @Option(names = "--set", paramLabel = "key=value", description = "Overrides a setting of all; may be given several times.")
    List<String> settings = List.of();

    @Override
    public Integer call() {
        Budget parsed = Budget.parse(budget);
        List<Contestant> contestants = configs.stream().map(config -> Contestant.read(config, settings)).toList();
        List<String> words = new ArrayList<>(List.of("gatun"));
        words.addAll(spec.commandLine().getParseResult().originalArgs());
        try (Progress progress = new Progress(spec.commandLine().getOut(), spec.commandLine().getErr())) {
            Comparison comparison = new Comparison(contestants, parsed, seeds, out, Comparison.shell(words), progress);
            Interruption interruption = new Interruption(comparison::requestStop);
            try {
                Optional<ComparisonData> result = comparison.run();
                progress.close();
                if (result.isEmpty()) {
                    spec.commandLine().getOut().println("stopped; the same command goes on");
                    spec.commandLine().getOut().flush();
                    return 130;
                }
                print(result.get());
                return failed(result.get());
            } catch (RuntimeException e) {
                progress.close();
                return Main.report(spec.commandLine(), e);
            } finally {
                interruption.finished();
            }
        }
    }

    private int failed(ComparisonData data) {
        if (data.failures() == 0) {
            return 0;
        }
        long runs = (long) data.entrants().size() * data.seeds();
        return Main.report(spec.commandLine(), new IllegalStateException(data.failures() + " of " + runs + " runs failed: "
                + String.join("; ", data.entrants().stream()
                        .flatMap(entrant -> entrant.runs().stream())
                        .filter(run -> !run.failure().isEmpty())
                        .map(run -> run.name() + ": " + run.failure())
                        .toList())));
    }

    private void print(ComparisonData data) {
        PrintWriter out = spec.commandLine().getOut();
        int width = data.entrants().stream().mapToInt(entrant -> entrant.name().length()).max().orElse(8);
        boolean classifies = data.entrants().stream().anyMatch(entrant -> entrant.spread("test_accuracy").count() > 0);
        // a column for the classifiers' own accuracy only where there is a classifier
        String row = "%-" + Math.max(8, width) + "s %16s %16s %16s " + (classifies ? "%9s " : "%.0s") + "%9s%n";
        out.println();
        out.printf(row, "pipeline", "kNN", "linear", "10-shot", "accuracy", "seconds");
        for (Entrant entrant : data.entrants()) {
            if (entrant.failures() == entrant.runs().size()) {
                out.printf("%-" + Math.max(8, width) + "s failed: %s%n", entrant.name(), entrant.runs().getFirst().failure());
                continue;
            }
            out.printf(row, entrant.name(), text(entrant.spread("scores", "trained", "knn")),
                    text(entrant.spread("scores", "trained", "linear")), text(entrant.spread("scores", "trained", "shot10")),
                    mean(entrant.spread("test_accuracy")), mean(entrant.spread("seconds_train")));
        }
        out.println();
        out.println("report: " + this.out.resolve(ComparisonReport.FILE).toAbsolutePath().normalize());
        out.flush();
    }

    private static String mean(Spread spread) {
        return spread.count() == 0 ? "" : String.format(Locale.ROOT, "%.1f", spread.mean());
    }

    private static String text(Spread spread) {
        return spread.count() < 2
                ? mean(spread)
                : String.format(Locale.ROOT, "%.1f (%.1f-%.1f)", spread.mean(), spread.low(), spread.high());
    }
}
