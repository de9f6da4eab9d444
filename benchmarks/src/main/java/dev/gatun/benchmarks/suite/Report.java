// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.suite.PeerEnvironment.Kind;
import dev.gatun.benchmarks.suite.Statistics.Estimate;
import dev.gatun.benchmarks.suite.Verdict.Rival;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;

/** The results as a page of Markdown. */
final class Report {
    private static final String INTRODUCTION =
            """
            # Benchmarks: ours beside PyTorch on the CPU

            `make bench` measures all of this and writes this page; `make bench OP=sinkhorn` measures one operation and keeps the rest.
            For trying while a kernel changes: `cmake/bench.sh sinkhorn --quick --rows 256x3000` (seconds a row, nothing is recorded; `--help`).

            How it is measured: a process holds one build of PyTorch and ours, on the same memory. First their results are compared; a
            row whose results differ by more than its tolerance (1e-4 of the root mean square, where the benchmark says no other) fails. Then they take turns of
            some 40 ms, round after round, with the ceilings in between, since the speed of a shared machine drifts by more than the differences
            looked for. A turn's time is the median of its calls. A ratio is PyTorch's time over ours in the same round; the median over
            the rounds is given with its 95 % confidence interval (bootstrap). **The ceiling** of a row is the larger of its operations at the peak of multiply-adds and its
            compulsory bytes at the speed of copying that footprint, both of the same round; work in place moves fewer bytes than a copy and may
            exceed it.

            PyTorch computes what the text in `benchmarks/src/main/resources` says, eagerly, in the forms that could be its fastest: the row counts
            against the fastest of them in the fastest of three builds: the official one with MKL and oneDNN (as DJL ships it) and JavaCPP's presets
            with MKL and with OpenBLAS. Its allocator is tuned to reuse memory (`MALLOC_MMAP_THRESHOLD_`); column *default allocator* is what a user gets without.
            Threads: the same number for both; one between operations; OpenMP waits as it does by default.
            A target is met by its ratio or by 85 % of the ceiling.
            """;

    private Report() {}

    static String markdown(Results results, String plot) {
        StringBuilder page = new StringBuilder(INTRODUCTION);
        List<Verdict> verdicts = Verdict.of(results.rows());
        Machine machine = results.machine();
        page.append("\nMachine: %s, %d cores, caches %s, %s, %s. Peers: %s. Commits: %s.\n"
                .formatted(
                        machine.processor(), machine.cores(), machine.caches(), machine.system(), machine.java(),
                        distinct(results, Measured::peer), distinct(results, Measured::commit)));
        page.append("\n").append(summary(verdicts)).append("\n\n![ratios](").append(plot).append(")\n");
        Map<String, List<Verdict>> operations =
                verdicts.stream().collect(Collectors.groupingBy(Verdict::operation, LinkedHashMap::new, Collectors.toList()));
        operations.forEach((operation, rows) -> {
            page.append("\n## ").append(operation).append("\n\n");
            table(page, rows);
        });
        if (!results.calls().isEmpty()) {
            page.append("\n## primitive calls\n\nA primitive of Java against a downcall of the same function with everything prepared, on operands so small that the kernel")
                    .append(" hardly counts; target: 60 ns above it and 0 bytes.\n\n| call | primitive | bare downcall | above | bytes | met |\n|-|-|-|-|-|-|\n");
            results.calls().forEach(call -> page.append(String.format(
                    Locale.ROOT, "| %s | %.1f ns | %.1f ns | %.1f ns | %.1f | %s |\n",
                    call.call(), call.nanos(), call.bareNanos(), call.above(), call.bytes(), call.met() ? "yes" : "**no**")));
        }
        page.append("\n## AVX2\n\nOurs and all of PyTorch's libraries held to AVX2.\n\n");
        avx2(page, verdicts);
        page.append("\n## Every form in every process\n\n");
        forms(page, verdicts);
        return page.toString();
    }

    private static String distinct(Results results, Function<Measured, String> field) {
        return results.rows().stream()
                .map(field)
                .filter(value -> !value.isEmpty())
                .collect(Collectors.toCollection(TreeSet::new))
                .stream()
                .collect(Collectors.joining(", "));
    }

    private static String summary(List<Verdict> verdicts) {
        List<Double> ratios = verdicts.stream()
                .flatMap(verdict -> verdict.nearest(Kind.TUNED, "").stream())
                .map(rival -> rival.ratio().median())
                .toList();
        long ahead = ratios.stream().filter(ratio -> ratio > 1).count();
        long targets = verdicts.stream().filter(verdict -> verdict.met().isPresent()).count();
        long met = verdicts.stream().filter(verdict -> verdict.met().orElse(false)).count();
        double mean = Math.exp(ratios.stream().mapToDouble(Math::log).average().orElse(0));
        return String.format(
                Locale.ROOT,
                "Of %d rows with a peer ours is faster in %d; geometric mean of the ratios %.2f. Targets met: %d of %d.",
                ratios.size(), ahead, mean, met, targets);
    }

    private static void table(StringBuilder page, List<Verdict> rows) {
        page.append("| row | threads | ISA | ours | rate | of the ceiling | fastest PyTorch | ratio | default allocator | target | met |\n");
        page.append("|-|-|-|-|-|-|-|-|-|-|-|\n");
        for (Verdict row : rows) {
            Measured main = row.main(Kind.TUNED);
            Optional<Rival> rival = row.nearest(Kind.TUNED, "");
            page.append("| %s | %d | %s | %s | %s | %.0f %% | %s | %s | %s | %s | %s |\n"
                    .formatted(
                            row.label(), main.threads(), main.isa(), Line.time(main.nanos().get("ours").median()), Line.rate(main),
                            100 * main.fraction().median(),
                            rival.map(Report::named).orElse("-"),
                            rival.map(r -> ratio(r.ratio())).orElse("-"),
                            row.nearest(Kind.DEFAULT_ALLOCATOR, "").map(r -> ratio(r.ratio())).orElse("-"),
                            targets(row),
                            row.met().map(met -> met ? "yes" : "**no**").orElse("-")));
        }
    }

    private static String named(Rival rival) {
        return "%s %s (%s)".formatted(rival.form(), Line.time(rival.row().nanos().get(rival.form()).median()), rival.row().environment());
    }

    private static String ratio(Estimate ratio) {
        return String.format(Locale.ROOT, "%.2f [%.2f, %.2f]", ratio.median(), ratio.low(), ratio.high());
    }

    private static String targets(Verdict row) {
        return row.targets().entrySet().stream()
                .map(target -> {
                    String aim = String.format(Locale.ROOT, "%.2f", target.getValue()).replaceFirst("\\.?0+$", "");
                    return target.getKey().isEmpty()
                            ? aim
                            : "%s %s (%s)".formatted(
                                    target.getKey(), aim,
                                    row.nearest(Kind.TUNED, target.getKey())
                                            .map(rival -> String.format(Locale.ROOT, "%.2f", rival.ratio().median()))
                                            .orElse("-"));
                })
                .collect(Collectors.joining(", "));
    }

    private static void avx2(StringBuilder page, List<Verdict> verdicts) {
        page.append("| operation | row | ours | rate | of the ceiling | fastest PyTorch | ratio |\n|-|-|-|-|-|-|-|\n");
        for (Verdict row : verdicts) {
            row.nearest(Kind.AVX2, "").ifPresent(rival -> page.append("| %s | %s | %s | %s | %.0f %% | %s | %s |\n"
                    .formatted(
                            row.operation(), row.label(), Line.time(rival.row().nanos().get("ours").median()), Line.rate(rival.row()),
                            100 * rival.row().fraction().median(), named(rival), ratio(rival.ratio()))));
        }
    }

    private static void forms(StringBuilder page, List<Verdict> verdicts) {
        page.append("| operation | row | process | ours | peak GFLOP/s | copy GB/s | forms, with their ratios |\n|-|-|-|-|-|-|-|\n");
        for (Verdict row : verdicts) {
            for (Measured measured : row.rows()) {
                page.append("| %s | %s | %s | %s | %.0f | %.0f | %s |\n"
                        .formatted(
                                row.operation(), row.label(), measured.environment(), Line.time(measured.nanos().get("ours").median()),
                                1 / measured.nanos().get("fma").median(), 1 / measured.nanos().get("copy").median(),
                                measured.ratios().entrySet().stream()
                                        .map(form -> form.getKey() + " " + Line.time(measured.nanos().get(form.getKey()).median()) + ", "
                                                + ratio(form.getValue()))
                                        .collect(Collectors.joining("; "))));
            }
        }
    }
}
