// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import static dev.gatun.learning.report.Axes.format;

import java.util.List;
import java.util.stream.IntStream;

/** A confusion matrix as inline SVG: a row a class, a column a prediction, the darker the larger the part of the row. */
final class HeatMap {
    private static final int SIDE = 520;
    private static final int MOST_NAMES = 30;
    private static final int MOST_NUMBERS = 20;

    private HeatMap() {}

    /**
     * The picture.
     *
     * @param counts by [label][prediction]
     * @param names of the classes
     */
    static String confusion(int[][] counts, List<String> names) {
        int classes = counts.length;
        double cell = (double) SIDE / classes;
        boolean named = classes <= MOST_NAMES;
        int left = named ? 110 : 20;
        int top = named ? 84 : 20;
        StringBuilder svg = new StringBuilder(format("<svg class='heat' viewBox='0 0 %d %d' role='img'>", left + SIDE + 40, top + SIDE + 4));
        for (int label = 0; label < classes; label++) {
            int total = IntStream.of(counts[label]).sum();
            double y = top + label * cell;
            if (named) {
                String name = Html.escape(shortened(Charts.className(names, label)));
                svg.append(format("<text x='%d' y='%.1f' text-anchor='end'>%s</text>", left - 8, y + cell / 2 + 4, name));
                double x = left + (label + .5) * cell;
                svg.append(format("<text x='%.1f' y='%d' transform='rotate(-40 %.1f %d)'>%s</text>", x, top - 8, x, top - 8, name));
            }
            for (int prediction = 0; prediction < classes; prediction++) {
                int count = counts[label][prediction];
                double part = total == 0 ? 0 : (double) count / total;
                double x = left + prediction * cell;
                // small parts must be seen too: the square root lifts them
                svg.append(format("<rect class='%s' x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill-opacity='%.3f'>",
                        label == prediction ? "right" : "wrong", x, y, cell - 1, cell - 1, Math.sqrt(part)));
                svg.append("<title>").append(Html.escape(Charts.className(names, label) + " taken for "
                        + Charts.className(names, prediction) + ": " + count + " of " + total)).append("</title></rect>");
                if (classes <= MOST_NUMBERS && count > 0) {
                    svg.append(format("<text class='%s' x='%.1f' y='%.1f' text-anchor='middle'>%d</text>",
                            part > .3 ? "on" : "count", x + cell / 2, y + cell / 2 + 4, count));
                }
            }
        }
        return svg.append("</svg>").toString();
    }

    private static String shortened(String name) {
        return name.length() <= 16 ? name : name.substring(0, 15) + "…";
    }
}
