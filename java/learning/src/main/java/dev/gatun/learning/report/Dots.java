// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import static dev.gatun.learning.report.Axes.format;

import dev.gatun.learning.report.ComparisonData.Spread;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.DoubleStream;

/** One score of several runs as inline SVG: a dot a seed, a tick for the mean, dashed lines for the floors. */
final class Dots {
    private static final int WIDTH = 480;
    private static final int LEFT = 150;
    private static final int RIGHT = 44;
    private static final int ROW = 26;
    private static final int TOP = 20;
    private static final int WORD = 56;

    private Dots() {}

    /**
     * A bar.
     *
     * @param name before it
     * @param colour its colour
     * @param values of the seeds
     */
    record Bar(String name, String colour, Spread values) {}

    /**
     * A height to compare with.
     *
     * @param name a word
     * @param value where
     */
    record Floor(String name, double value) {}

    /** The chart; empty without values. */
    static String chart(String caption, List<Bar> bars, List<Floor> floors) {
        List<Bar> shown = bars.stream().filter(bar -> bar.values().count() > 0).toList();
        if (shown.isEmpty()) {
            return "";
        }
        List<Floor> drawn = new ArrayList<>(floors);
        drawn.removeIf(floor -> !Double.isFinite(floor.value()));
        drawn.sort(Comparator.comparingDouble(Floor::value));
        double low = DoubleStream.concat(
                        shown.stream().mapToDouble(bar -> bar.values().low()), drawn.stream().mapToDouble(Floor::value))
                .min()
                .orElseThrow();
        double high = DoubleStream.concat(
                        shown.stream().mapToDouble(bar -> bar.values().high()), drawn.stream().mapToDouble(Floor::value))
                .max()
                .orElseThrow();
        double step = high - low > 25 ? 10 : high - low > 8 ? 5 : high - low > 3 ? 2 : 1;
        double from = Math.max(0, Math.floor((low - step / 4) / step) * step);
        double to = Math.min(100, Math.ceil((high + step / 4) / step) * step);
        Axes.Scale x = new Axes.Scale(from, to, LEFT, WIDTH - RIGHT);
        int bottom = TOP + ROW * shown.size();
        StringBuilder svg = new StringBuilder(format(
                "<figure><figcaption>%s</figcaption><svg viewBox='0 0 %d %d' role='img'>", Html.escape(caption), WIDTH, bottom + 20));
        for (double v = from; v <= to + step / 10; v += step) {
            svg.append(format("<line class='grid' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/>", x.at(v), x.at(v), TOP, bottom));
            svg.append(format("<text x='%.1f' y='%d' text-anchor='middle'>%.0f</text>", x.at(v), bottom + 15, v));
        }
        double labelled = Double.NEGATIVE_INFINITY;
        for (Floor floor : drawn) {
            double at = x.at(floor.value());
            svg.append(format("<line class='reference' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/>", at, at, TOP - 2, bottom));
            if (Math.abs(at - labelled) > WORD) {
                svg.append(format("<text x='%.1f' y='%d' text-anchor='middle'>%s</text>", at, TOP - 6, Html.escape(floor.name())));
                labelled = at;
            }
        }
        for (int i = 0; i < shown.size(); i++) {
            Bar bar = shown.get(i);
            double y = TOP + ROW * (i + .5);
            svg.append(format("<text x='%d' y='%.1f' text-anchor='end'>%s</text>", LEFT - 8, y + 4, Html.escape(shortened(bar.name()))));
            // from the lowest to the highest, the mean upright: a bar would want an axis from 0
            double first = x.at(bar.values().low());
            svg.append(format("<rect x='%.1f' y='%.1f' width='%.1f' height='2' fill='%s'/>",
                    first, y - 1, x.at(bar.values().high()) - first, bar.colour()));
            svg.append(format("<rect x='%.1f' y='%.1f' width='2' height='14' fill='%s'/>",
                    x.at(bar.values().mean()) - 1, y - 7, bar.colour()));
            for (double value : bar.values().values()) {
                svg.append(format("<circle cx='%.1f' cy='%.1f' r='3.2' fill='%s'/>", x.at(value), y, bar.colour()));
            }
            svg.append(format("<text class='value' x='%.1f' y='%.1f'>%.1f</text>", x.at(bar.values().high()) + 8, y + 4, bar.values().mean()));
        }
        return svg.append("</svg></figure>").toString();
    }

    private static String shortened(String name) {
        return name.length() <= 24 ? name : "…" + name.substring(name.length() - 23);
    }
}
