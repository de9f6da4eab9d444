// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.evaluation.Evaluation.Scores;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The protocol's scores as a small table, floors first. */
final class ScoreTable {
    private ScoreTable() {}

    /** Scores by features, each as {@link Scores} or as a map of numbers. */
    static String of(@Nullable Object scores) {
        if (!(scores instanceof Map<?, ?> rows) || rows.isEmpty()) {
            return "no scores: the data have no labels or no test part (an image folder needs class folders, and data.test), "
                    + "or evaluation.features is empty";
        }
        StringBuilder text = new StringBuilder(String.format(Locale.ROOT, "%n%-10s %6s %8s %9s%n", "features", "kNN", "linear", "10-shot"));
        rows.forEach((name, row) -> {
            double[] values = values(row);
            text.append(String.format(Locale.ROOT, "%-10s %6.1f %8.1f %9.1f%n", name, values[0], values[1], values[2]));
        });
        return text.toString();
    }

    private static double[] values(Object row) {
        if (row instanceof Scores scores) {
            return new double[] {scores.knn(), scores.linear(), scores.shot10()};
        }
        Map<?, ?> map = (Map<?, ?>) row;
        return new double[] {number(map.get("knn")), number(map.get("linear")), number(map.get("shot10"))};
    }

    private static double number(@Nullable Object value) {
        return value instanceof Number number ? number.doubleValue() : Double.NaN;
    }
}
