// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.PrintWriter;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Predicate;

/** Whole steps side by side, and whether they reach what is asked of them. */
final class StepTable {
    /** Throughput of a captured step over that of the fastest compiled one. */
    static final double OVER_COMPILE = 1.3;

    /** Throughput of a captured step over that of an eager one of PyTorch. */
    static final double OVER_EAGER = 2;

    /** The part of a captured step in which the device may wait. */
    static final double IDLE = .05;

    private static final double GIB = 1L << 30;
    private static final String NONE = "not measured";

    /** One line of the table. */
    private record Line(
            String key, Optional<StepRow> eager, Optional<StepRow> captured, Optional<StepRow> torchEager, Optional<StepRow> compiled) {}

    private final List<Line> lines;
    private final boolean peers;

    /**
     * Joins rows.
     *
     * @param ours of {@code gatun bench-steps}
     * @param theirs of PyTorch; may be empty
     */
    StepTable(List<StepRow> ours, List<StepRow> theirs) {
        Map<String, Line> byKey = new LinkedHashMap<>();
        List<String> keys = java.util.stream.Stream.concat(ours.stream(), theirs.stream()).map(StepRow::key).distinct().toList();
        for (String key : keys) {
            byKey.put(key, new Line(
                    key, fastest(ours, key, row -> row.form().equals("eager")), fastest(ours, key, row -> row.form().equals("captured")),
                    fastest(theirs, key, row -> row.form().equals("eager")), fastest(theirs, key, row -> row.form().startsWith("compile"))));
        }
        lines = List.copyOf(byKey.values());
        peers = !theirs.isEmpty();
    }

    private static Optional<StepRow> fastest(List<StepRow> rows, String key, Predicate<StepRow> form) {
        return rows.stream().filter(row -> row.key().equals(key)).filter(form).max(Comparator.comparingDouble(StepRow::imagesPerSecond));
    }

    void print(PrintWriter out) {
        int width = Math.max(4, lines.stream().mapToInt(line -> line.key().length()).max().orElse(0));
        out.println();
        String rates = "%-" + width + "s  %-26s %-26s %-26s %s";
        line(out, rates, "step", "eager", "captured", peer("PyTorch eager"), peer("torch.compile"));
        for (Line line : lines) {
            line(out, rates, line.key(), rate(line.eager()), rate(line.captured()), peer(rate(line.torchEager())), peer(compiled(line.compiled())));
        }
        out.println();
        String memory = "%-" + width + "s  %-18s %-18s %-14s %-22s %s";
        line(out, memory, "step", "memory, eager", "memory, captured", "idle, captured", peer("memory, PyTorch eager"), peer("memory, torch.compile"));
        for (Line line : lines) {
            line(out, memory, line.key(), memory(line.eager()), memory(line.captured()), idle(line.captured()), peer(memory(line.torchEager())),
                    peer(memory(line.compiled())));
        }
        if (peers) {
            targets(out, width);
        }
    }

    private static void line(PrintWriter out, String format, String... cells) {
        out.println(String.format(format, (Object[]) cells).stripTrailing());
    }

    private String peer(String cell) {
        return peers ? cell : "";
    }

    private void targets(PrintWriter out, int width) {
        out.println();
        String row = "%-" + width + "s  %-32s %-32s %-16s %s";
        line(out, row, "targets", "captured / torch.compile >= " + OVER_COMPILE, "captured / PyTorch eager >= " + OVER_EAGER,
                "idle < " + percent(IDLE), "memory <= PyTorch eager's");
        for (Line line : lines) {
            line(out, row, line.key(),
                    verdict(faster(line.captured(), line.compiled()), ratio -> ratio >= OVER_COMPILE, StepTable::times),
                    verdict(faster(line.captured(), line.torchEager()), ratio -> ratio >= OVER_EAGER, StepTable::times),
                    verdict(line.captured().map(StepRow::idle).orElse(OptionalDouble.empty()), idle -> idle < IDLE, StepTable::percent),
                    verdict(memory(line.captured().or(line::eager), line.torchEager()), ratio -> ratio <= 1, StepTable::times));
        }
    }

    private static String verdict(OptionalDouble value, java.util.function.DoublePredicate target, java.util.function.DoubleFunction<String> text) {
        return value.isEmpty() ? NONE
                : (target.test(value.getAsDouble()) ? "met (" : "not met (") + text.apply(value.getAsDouble()) + ")";
    }

    private static OptionalDouble faster(Optional<StepRow> ours, Optional<StepRow> theirs) {
        return ours.isEmpty() || theirs.isEmpty() ? OptionalDouble.empty()
                : OptionalDouble.of(ours.get().imagesPerSecond() / theirs.get().imagesPerSecond());
    }

    // memory is comparable where the batch is the same
    private static OptionalDouble memory(Optional<StepRow> ours, Optional<StepRow> theirs) {
        return ours.isEmpty() || theirs.isEmpty() || ours.get().batch() != theirs.get().batch() ? OptionalDouble.empty()
                : OptionalDouble.of(ours.get().peakBytes() / (double) theirs.get().peakBytes());
    }

    private static String rate(Optional<StepRow> row) {
        return row.map(r -> (r.largest() ? r.batch() + ": " : "") + Results.time(r.seconds())
                + String.format(Locale.ROOT, ", %.0f images/s", r.imagesPerSecond())).orElse(NONE);
    }

    private static String compiled(Optional<StepRow> row) {
        return rate(row) + row.map(r -> " (" + r.form().replaceFirst("^compile ?", "") + ")").orElse("");
    }

    private static String memory(Optional<StepRow> row) {
        return row.map(r -> String.format(Locale.ROOT, "%.3g GiB", r.peakBytes() / GIB)).orElse(NONE);
    }

    private static String idle(Optional<StepRow> row) {
        OptionalDouble idle = row.map(StepRow::idle).orElse(OptionalDouble.empty());
        return idle.isEmpty() ? NONE : percent(idle.getAsDouble());
    }

    private static String percent(double part) {
        return String.format(Locale.ROOT, "%.1f %%", 100 * part);
    }

    private static String times(double ratio) {
        return String.format(Locale.ROOT, "%.2f", ratio);
    }
}
