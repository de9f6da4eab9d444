// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

@Command(
        name = "selftest",
        description = "Tries every kernel of a device on random shapes against a plain computation in double precision. Exit status 1 on any miss.",
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "  gatun selftest --quick",
            "  gatun selftest --device cuda --op attention --seed 7",
        })
final class SelftestCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Mixin
    TrialOptions options;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "1", description = "Chooses the shapes; default 1.")
    int seed = 1;

    /** The worst shape of a kernel. */
    private record Worst(int shapes, int missed, JsonNode row) {
        Worst and(JsonNode other) {
            boolean worse = share(other) > share(row);
            return new Worst(shapes + 1, missed + (other.path("passed").asBoolean() ? 0 : 1), worse ? other : row);
        }
    }

    @Override
    public Integer call() throws IOException, InterruptedException {
        Trials trials = options.trials();
        Set<String> names = Trials.operations(trials.list(options.operations));
        List<String> arguments = options.arguments("--seed", Integer.toString(seed));
        PrintWriter out = spec.commandLine().getOut();
        Map<String, Worst> kernels = new LinkedHashMap<>();
        List<JsonNode> rows = new ArrayList<>();
        Set<String> seen = new LinkedHashSet<>();
        int status;
        try (Progress progress = new Progress(out, spec.commandLine().getErr())) {
            progress.phase("selftest on " + options.device, names.size());
            status = trials.run("selftest", arguments, row -> {
                rows.add(row);
                if (row.has("operation")) {
                    if (seen.add(row.path("operation").asString())) {
                        progress.advanced(seen.size() - 1);
                    }
                    kernels.merge(kernel(row), new Worst(1, row.path("passed").asBoolean() ? 0 : 1, row), (a, b) -> a.and(b.row()));
                }
            });
            progress.advanced(names.size());
        }
        out.printf("%n%-42s %7s %-34s %10s %10s%n", "kernel", "shapes", "worst shape", "error", "bound");
        kernels.forEach((kernel, worst) -> out.printf(
                Locale.ROOT, "%-42s %7d %-34s %10.3g %10.3g%s%n", kernel, worst.shapes(), worst.row().path("shape").asString(),
                number(worst.row().path("error")), number(worst.row().path("bound")), worst.missed() > 0 ? "  MISSED " + worst.missed() : ""));
        int missed = kernels.values().stream().mapToInt(Worst::missed).sum();
        int shapes = kernels.values().stream().mapToInt(Worst::shapes).sum();
        out.printf("%n%d kernels, %d shapes: %s%n", kernels.size(), shapes, missed == 0 ? "all within their bounds" : missed + " missed");
        if (options.json != null) {
            Results.write(options.json, rows);
        }
        return status;
    }

    private static String kernel(JsonNode row) {
        return row.path("operation").asString() + " " + row.path("direction").asString() + " " + row.path("dtype").asString();
    }

    private static double share(JsonNode row) {
        double bound = number(row.path("bound"));
        double error = number(row.path("error"));
        return bound > 0 ? error / bound : error > 0 ? Double.POSITIVE_INFINITY : 0;
    }

    // JSON has no NaN and no infinity: the program writes them as text
    private static double number(JsonNode node) {
        return switch (node.asString()) {
            case "nan", "inf" -> Double.POSITIVE_INFINITY;
            default -> node.asDouble();
        };
    }
}
