// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import java.util.Locale;

/** A measured row as a line of text. */
final class Line {
    private Line() {}

    static String of(Measured row) {
        StringBuilder line = new StringBuilder("%s %s (%s)".formatted(row.operation(), String.join(" ", row.parameters().values()), row.environment()));
        if (!row.failure().isEmpty()) {
            return line.append(" FAILED: ").append(row.failure()).toString();
        }
        double nanos = row.nanos().get("ours").median();
        line.append(": ours %s, %s, %.0f %% of the ceiling".formatted(time(nanos), rate(row), 100 * row.fraction().median()));
        row.ratios().forEach((form, ratio) -> line.append("; %s %s, %.2fx [%.2f, %.2f]"
                .formatted(form, time(row.nanos().get(form).median()), ratio.median(), ratio.low(), ratio.high())));
        return line.append("  {peak %.0f GFLOP/s, copy %.1f GB/s}".formatted(1 / row.nanos().get("fma").median(), 1 / row.nanos().get("copy").median()))
                .toString();
    }

    /** What bounds the row decides the unit. */
    static String rate(Measured row) {
        double nanos = row.nanos().get("ours").median();
        boolean compute = row.flops() * row.nanos().get("fma").median() > row.bytes() * row.nanos().get("copy").median();
        return compute ? "%.0f GFLOP/s".formatted(row.flops() / nanos) : "%.1f GB/s".formatted(row.bytes() / nanos);
    }

    static String time(double nanos) {
        if (nanos < 1e3) {
            return String.format(Locale.ROOT, "%.1f ns", nanos);
        }
        return nanos < 1e6 ? String.format(Locale.ROOT, "%.1f us", nanos / 1e3) : String.format(Locale.ROOT, "%.2f ms", nanos / 1e6);
    }
}
