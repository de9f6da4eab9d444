// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.steps.Steps;
import dev.gatun.benchmarks.suite.PeerEnvironment.Kind;
import dev.gatun.benchmarks.suite.Statistics.Estimate;
import dev.gatun.benchmarks.suite.Verdict.Met;
import dev.gatun.benchmarks.suite.Verdict.Rival;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Collectors;

/** The results as a page of Markdown. */
final class Report {
    private static final String INTRODUCTION =
            """
            # Benchmarks: ours beside PyTorch and ND4J on the CPU

            `make bench` measures all of this and writes this page; `make bench OP=sinkhorn` measures one operation and keeps the rest.
            For trying while a kernel changes: `cmake/bench.sh sinkhorn --quick --rows 256x3000` (seconds a row, nothing is recorded; `--help`).

            **How it is measured.** A process holds one build of PyTorch, or ND4J, and ours, on the same memory. First their results are compared; a
            row whose results differ by more than its tolerance (1e-4 of the root mean square, where the benchmark says no other) fails and is not recorded. Blocks and
            steps of ours train on two images first, until Java's just-in-time compiler has their code behind it. Then they
            take turns of some 40 ms (at least one call), round after round, with the ceilings in between, since the speed of a shared machine drifts by more than the
            differences looked for. A turn's time is the median of its calls. All use the same number of threads; operations run one after the other.

            **Ratio**: PyTorch's time over ours in the same round, so above 1 ours is faster; the median over the rounds, with its 95 % confidence interval (bootstrap). A row
            counts by its least ratio: to the fastest form of PyTorch in the nearer of two builds, `djl` (the official one, as DJL ships it) and `presets` (JavaCPP's),
            both with MKL and oneDNN and with an allocator that reuses memory (`MALLOC_MMAP_THRESHOLD_`). The forms are what the text in
            `benchmarks/src/main/resources` says, run eagerly; *fastest PyTorch* names form, time and build. Column *default allocator* (process `djl-default`) is what a user
            gets without that setting; `djl-avx2` holds both sides to AVX2. Builds with OpenBLAS run where they are asked for (`--peers openblas`) and are not recorded: their
            threads keep the cores busy in the turns of others.

            **Of the ceiling**: the time that the row's work takes at the machine's limit over the time of ours. The limit is the larger of its floating-point operations
            at the peak of multiply-adds and its compulsory bytes at the speed of copying that footprint, both of the same round; *rate* is in the unit of the larger. Work in place moves fewer
            bytes than a copy and may exceed it.

            **Rows named winograd** let our convolutions err by 1e-5 (root mean square over that of the result; Winograd's filtering); they multiply less than their ceiling counts
            and may exceed it. All other rows are exact up to single precision. Those named winograd have no target and are left out of the counts and the mean below.

            ND4J, where it has the operation and computes the same, stands in a column of its own (its time over ours) and decides nothing: its build with oneDNN, products by OpenBLAS,
            arrays for its results that stand before. Its GELU is the one with tanh, and the gradient of its cross-entropy is not the gradient: they are left out.
            """;

    private Report() {}

    static String markdown(Results results, String plot) {
        StringBuilder page = new StringBuilder(INTRODUCTION);
        List<Verdict> verdicts = Verdict.of(results.rows());
        Machine machine = results.machine();
        page.append("\nMachine: %s, %d cores, caches %s, %s, %s. Peers: %s. Dtypes and commits, each row's in the last table: %s; %s.\n"
                .formatted(
                        machine.processor(), machine.cores(), machine.caches(), machine.system(), machine.java(),
                        distinct(results, Measured::peer), distinct(results, Measured::dtype), distinct(results, Measured::commit)));
        page.append("\n").append(summary(verdicts)).append("\n\n## Targets\n\n");
        targets(page, verdicts, results.calls(), results.memory());
        page.append("\n![ratios](").append(plot).append(")\n");
        Map<String, List<Verdict>> operations =
                verdicts.stream().collect(Collectors.groupingBy(Verdict::operation, LinkedHashMap::new, Collectors.toList()));
        operations.forEach((operation, rows) -> {
            page.append("\n## ").append(operation).append("\n\n").append(Legend.of(operation)).append("\n\n");
            table(page, rows);
        });
        if (!results.calls().isEmpty()) {
            page.append("\n## primitive calls\n\nA primitive of Java against a downcall of the same function with everything prepared, on operands so small that the kernel")
                    .append(" hardly counts.\n\n| call | primitive | bare downcall | above | bytes |\n|-|-|-|-|-|\n");
            results.calls().forEach(call -> page.append(String.format(
                    Locale.ROOT, "| %s | %.1f ns | %.1f ns | %.1f ns | %.1f |\n", call.call(), call.nanos(), call.bareNanos(), call.above(), call.bytes())));
        }
        if (!results.memory().isEmpty()) {
            page.append("\n## peak memory of steps\n\nThe most that is resident at once from the making of the parameters on, over three steps, each side in a process of its own; ")
                    .append("[docs/steps.md](steps.md) says how. Ratio: ours over the least of PyTorch's; a subset of the rows is no usual form and stands beside.\n\n")
                    .append("| step | process | ours | PyTorch, each form | ratio |\n|-|-|-|-|-|\n");
            results.memory().forEach(peak -> page.append(String.format(
                    Locale.ROOT, "| %s | %s | %s | %s | %.2f |\n", peak.step(), peak.environment(), PeakMemory.megabytes(peak.ours()), peers(peak), peak.ratio())));
        }
        page.append("\n## AVX2\n\nOurs and all of PyTorch's libraries held to AVX2.\n\n");
        avx2(page, verdicts);
        page.append("\n## Every form in every process\n\n");
        forms(page, verdicts);
        return page.toString();
    }

    private static String peers(PeakMemory peak) {
        return peak.bytes().entrySet().stream()
                .filter(side -> !side.getKey().equals(Steps.OURS))
                .map(side -> side.getKey() + " " + PeakMemory.megabytes(side.getValue()))
                .collect(Collectors.joining("; "));
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
                .filter(Verdict::exact)
                .flatMap(verdict -> verdict.nearest(Kind.TUNED, "").stream())
                .map(rival -> rival.ratio().median())
                .toList();
        long ahead = ratios.stream().filter(ratio -> ratio > 1).count();
        List<Met> judged = verdicts.stream().flatMap(verdict -> verdict.met().stream()).toList();
        long narrow = judged.stream().filter(met -> met == Met.BY_THE_MEDIAN).count();
        double mean = Math.exp(ratios.stream().mapToDouble(Math::log).average().orElse(0));
        return String.format(
                Locale.ROOT,
                "Of %d exact rows with a peer ours is faster in %d; geometric mean of their ratios %.2f. Targets met: %d of %d (peak memory and calls apart), %d of these by the median alone.",
                ratios.size(), ahead, mean, judged.stream().filter(Met::yes).count(), judged.size(), narrow);
    }

    /** What was to be reached, before all that was measured. */
    private static void targets(StringBuilder page, List<Verdict> verdicts, List<CallCost> calls, List<PeakMemory> memory) {
        page.append("The least ratio over the builds of PyTorch. By the median, or by ").append(Math.round(100 * Verdict.ENOUGH));
        page.append(" % of the ceiling; where the target lies within the interval, another run could say otherwise.\n\n");
        page.append("| work | target | ratio | of the ceiling | met |\n|-|-|-|-|-|\n");
        for (Verdict row : verdicts) {
            row.met().ifPresent(met -> page.append("| %s | %s | %s | %.0f %% | %s |\n"
                    .formatted(
                            row.operation() + " " + row.label(), each(row, Report::target), each(row, Report::measured),
                            100 * row.main(Kind.TUNED).fraction().median(), met)));
        }
        memory.stream().collect(Collectors.toMap(PeakMemory::step, peak -> peak, (a, b) -> a.ratio() > b.ratio() ? a : b, LinkedHashMap::new))
                .forEach((step, peak) -> page.append(String.format(
                        Locale.ROOT, "| peak memory of the step %s, over PyTorch's | at most %.1f | %.2f | - | %s |\n",
                        step, PeakMemory.TARGET, peak.ratio(), peak.met() ? Met.YES : Met.NO)));
        calls.stream().max(Comparator.comparingDouble(CallCost::above)).ifPresent(slowest -> page.append(String.format(
                Locale.ROOT, "| primitive call above a bare downcall (%s, the slowest of %d) | 60 ns, 0 B | %.1f ns, %.1f B | - | %s |\n",
                slowest.call(), calls.size(), slowest.above(), calls.stream().mapToDouble(CallCost::bytes).max().orElse(0),
                calls.stream().allMatch(CallCost::met) ? Met.YES : Met.NO)));
    }

    /** Of each target of the row, named by its form where there are several. */
    private static String each(Verdict row, BiFunction<Verdict, String, String> text) {
        return row.targets().keySet().stream()
                .map(form -> (form.isEmpty() ? "" : form + " ") + text.apply(row, form))
                .collect(Collectors.joining("; "));
    }

    private static String target(Verdict row, String form) {
        return String.format(Locale.ROOT, "%.2f", row.targets().get(form)).replaceFirst("\\.?0+$", "");
    }

    private static String measured(Verdict row, String form) {
        return row.nearest(Kind.TUNED, form).map(rival -> ratio(rival.ratio())).orElse("-");
    }

    private static void table(StringBuilder page, List<Verdict> rows) {
        boolean nd4j = rows.stream().anyMatch(row -> row.nearest(Kind.ND4J, "").isPresent());
        page.append("| row | threads | ISA | ours | rate | of the ceiling | fastest PyTorch | ratio | default allocator |").append(nd4j ? " ND4J |\n" : "\n");
        page.append("|-|-|-|-|-|-|-|-|-|").append(nd4j ? "-|\n" : "\n");
        for (Verdict row : rows) {
            Measured main = row.main(Kind.TUNED);
            page.append("| %s | %d | %s | %s | %s | %.0f %% | %s | %s | %s |"
                    .formatted(
                            row.label(), main.threads(), main.isa(), Line.time(main.nanos().get("ours").median()), Line.rate(main),
                            100 * main.fraction().median(), row.nearest(Kind.TUNED, "").map(Report::named).orElse("-"), measured(row, ""),
                            row.nearest(Kind.DEFAULT_ALLOCATOR, "").map(r -> ratio(r.ratio())).orElse("-")));
            page.append(nd4j ? " " + row.nearest(Kind.ND4J, "").map(r -> ratio(r.ratio())).orElse("-") + " |\n" : "\n");
        }
    }

    private static String named(Rival rival) {
        return "%s %s (%s)".formatted(rival.form(), Line.time(rival.row().nanos().get(rival.form()).median()), rival.row().environment());
    }

    private static String ratio(Estimate ratio) {
        return String.format(Locale.ROOT, "%.2f [%.2f, %.2f]", ratio.median(), ratio.low(), ratio.high());
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
        page.append("| operation | row | dtype | process | commit | ours | peak GFLOP/s | copy GB/s | forms, with their ratios |\n|-|-|-|-|-|-|-|-|-|\n");
        for (Verdict row : verdicts) {
            for (Measured measured : row.rows()) {
                page.append("| %s | %s | %s | %s | %s | %s | %.0f | %.0f | %s |\n"
                        .formatted(
                                row.operation(), row.label(), measured.dtype(), measured.environment(), measured.commit(),
                                Line.time(measured.nanos().get("ours").median()),
                                1 / measured.nanos().get("fma").median(), 1 / measured.nanos().get("copy").median(),
                                measured.ratios().entrySet().stream()
                                        .map(form -> form.getKey() + " " + Line.time(measured.nanos().get(form.getKey()).median()) + ", "
                                                + ratio(form.getValue()))
                                        .collect(Collectors.joining("; "))));
            }
        }
    }
}
