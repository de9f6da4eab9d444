// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

@Command(
        name = "bench",
        description = {
            "Times every kernel of a device. A row has its rate and the fraction of the ceiling (multiply-adds, matrix units or a copy) that was "
                    + "measured just before, whichever binds. Operands rotate through more memory than the caches hold."
        },
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "  gatun bench --op sinkhorn",
            "  gatun bench --device cuda --json gatun.json --compare torch.json",
        })
final class BenchCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Mixin
    TrialOptions options;

    @Option(names = "--threads", paramLabel = "N", defaultValue = "0", description = "Threads on the CPU; default all.")
    int threads;

    @Option(names = "--list", description = "Print the rows as a JSON array, without running them.")
    boolean list;

    @Option(names = "--compare", paramLabel = "FILE", description = "Rows of a peer, from benchmarks/peers/torch_cuda.py --json, or of another run of ours.")
    @Nullable Path compare;

    @Override
    public Integer call() throws IOException, InterruptedException {
        Map<String, List<JsonNode>> peers = compare == null ? Map.of() : peers(compare);
        Trials trials = options.trials();
        PrintWriter out = spec.commandLine().getOut();
        List<JsonNode> expected = trials.list(options.operations);
        if (list) {
            out.println(JsonMapper.builder().build().writeValueAsString(expected));
            return 0;
        }
        List<String> arguments = options.arguments("--threads", Integer.toString(threads));
        List<JsonNode> lines = new ArrayList<>();
        List<JsonNode> rows = new ArrayList<>();
        try (Progress progress = new Progress(out, spec.commandLine().getErr())) {
            progress.phase("bench on " + options.device, expected.size());
            trials.run("bench", arguments, line -> {
                if (line.has("ceilings")) {
                    write(lines);  // an operation is done: what is measured stays, should the run be cut
                }
                lines.add(line);
                if (line.has("operation")) {
                    rows.add(line);
                    progress.advanced(rows.size());
                }
            });
        }
        table(out, lines, peers);
        Set<String> unmatched = new TreeSet<>(peers.keySet());
        rows.forEach(row -> unmatched.remove(Results.key(row)));
        unmatched.forEach(key -> out.println("only the peer has " + key));
        write(lines);
        return 0;
    }

    private void write(List<JsonNode> lines) {
        try {
            if (options.json != null) {
                Results.write(options.json, lines);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void table(PrintWriter out, List<JsonNode> lines, Map<String, List<JsonNode>> peers) {
        out.printf("%n%-58s %10s %12s %10s %14s%s%n", "kernel", "time", "GFLOP/s", "GB/s", "of ceiling", peers.isEmpty() ? "" : "  fastest peer / ours");
        for (JsonNode line : lines) {
            if (line.has("ceilings")) {
                JsonNode at = line.path("ceilings");
                out.printf(
                        Locale.ROOT, "ceilings: %.0f GFLOP/s f32, %s%.0f GB/s copied%n", at.path("flops").asDouble() / 1e9,
                        at.path("tensor_flops").asDouble() > 0
                                ? String.format(Locale.ROOT, "%.0f GFLOP/s matrix units, ", at.path("tensor_flops").asDouble() / 1e9)
                                : "",
                        at.path("bytes").asDouble() / 1e9);
            } else if (line.has("seconds")) {
                double seconds = line.path("seconds").asDouble();
                out.printf(
                        Locale.ROOT, "%-58s %10s %12.1f %10.1f %5.0f %% of %-6s%s%n", Results.key(line), Results.time(seconds),
                        line.path("flops").asDouble() / seconds / 1e9, line.path("bytes").asDouble() / seconds / 1e9,
                        100 * line.path("fraction").asDouble(), line.path("limit").asString(), peer(peers, line, seconds));
            }
        }
    }

    private static String peer(Map<String, List<JsonNode>> peers, JsonNode line, double seconds) {
        List<JsonNode> forms = peers.get(Results.key(line));
        if (forms == null) {
            return peers.isEmpty() ? "" : "  no peer";
        }
        JsonNode best = forms.stream().min(Comparator.comparingDouble(form -> form.path("seconds").asDouble())).orElseThrow();
        StringBuilder text = new StringBuilder(String.format(Locale.ROOT, "  %.2f (%s)", best.path("seconds").asDouble() / seconds, form(best)));
        forms.stream().filter(form -> form != best).forEach(form -> text.append(
                String.format(Locale.ROOT, ", %.2f (%s)", form.path("seconds").asDouble() / seconds, form(form))));
        return text.toString();
    }

    // an earlier run of ours may be the peer: it has no forms
    private static String form(JsonNode row) {
        return row.path("form").asString("the other run");
    }

    private static Map<String, List<JsonNode>> peers(Path file) throws IOException {
        Map<String, List<JsonNode>> forms = new LinkedHashMap<>();
        for (JsonNode row : JsonMapper.builder().build().readTree(Files.readString(file)).path("rows")) {
            if (row.path("seconds").asDouble() > 0) {
                forms.computeIfAbsent(Results.key(row), key -> new ArrayList<>()).add(row);
            }
        }
        if (forms.isEmpty()) {
            throw new IllegalArgumentException(file + " has no rows with seconds");
        }
        return forms;
    }
}
