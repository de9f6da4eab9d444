// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import static dev.gatun.learning.report.Axes.format;

import dev.gatun.learning.report.Axes.Scale;
import dev.gatun.learning.report.ReportData.Point;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Inline SVG: curves of metrics, and the map of embeddings. */
final class Charts {
    private static final int POINTS = 400;
    private static final String[] COLOURS = {
        "#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8e9aa8"
    };

    private Charts() {}

    /**
     * A curve among others.
     *
     * @param colour its colour
     * @param points (x, y) in the order of x
     */
    record Curve(String colour, List<double[]> points) {}

    /**
     * A line chart of a metric; empty if fewer than two lines have it. A metric that is logged once an epoch is drawn over
     * epochs with a dot for each, others over steps.
     *
     * @param caption the chart's title
     * @param metric which value
     * @param smooth whether a moving average is drawn over the values
     * @param reference a dashed line at this height; NaN = none
     */
    static String line(String caption, List<Map<String, Double>> metrics, String metric, boolean smooth, double reference) {
        List<Map<String, Double>> lines = metrics.stream()
                .filter(line -> Double.isFinite(line.getOrDefault(metric, Double.NaN)))
                .toList();
        if (lines.size() < 2) {
            return "";
        }
        boolean once = lines.size() < metrics.size()
                && lines.stream().map(line -> line.get("epoch")).distinct().count() == lines.size();
        String unit = once ? "epoch" : "step";
        List<double[]> points = thin(lines.stream()
                .map(line -> new double[] {line.getOrDefault(unit, Double.NaN), line.get(metric)})
                .toList());
        // a rate or a count: its distance from nothing is what matters
        Axes axes = Axes.around(points, reference, smooth || once ? Double.NaN : 0);
        StringBuilder svg = new StringBuilder("<figure data-points='").append(tooltips(points, axes, unit)).append("'><figcaption>")
                .append(Html.escape(once ? caption + ", by epoch" : caption)).append("</figcaption>").append(axes.open());
        if (Double.isFinite(reference)) {
            svg.append(axes.reference(reference));
        }
        boolean average = smooth && !once;
        svg.append("<polyline class='").append(average ? "raw" : "smooth").append("' points='").append(axes.path(points))
                .append("'/>");
        if (average) {
            svg.append("<polyline class='smooth' points='").append(axes.path(average(points))).append("'/>");
        }
        if (once && points.size() <= 60) {
            points.forEach(p -> svg.append(format("<circle class='dot' cx='%.1f' cy='%.1f' r='3'/>", axes.x(p[0]), axes.y(p[1]))));
        }
        return svg.append(axes.cross()).append("</svg><div class='tip'></div></figure>").toString();
    }

    /**
     * Several curves in one frame, smoothed; empty if no curve has two points.
     *
     * @param caption the chart's title
     * @param curves the curves
     * @param last where the frame ends, so that several charts have one scale; it starts at 0
     */
    static String curves(String caption, List<Curve> curves, double last) {
        List<Curve> drawn = curves.stream()
                .filter(curve -> curve.points().size() > 1)
                .map(curve -> new Curve(curve.colour(), average(thin(curve.points()))))
                .toList();
        if (drawn.isEmpty()) {
            return "";
        }
        double height = drawn.getFirst().points().getFirst()[1];
        List<double[]> all = new ArrayList<>(List.of(new double[] {0, height}, new double[] {last, height}));
        drawn.forEach(curve -> all.addAll(curve.points()));
        Axes axes = Axes.around(all);
        StringBuilder svg = new StringBuilder("<figure><figcaption>").append(Html.escape(caption)).append("</figcaption>")
                .append(axes.open());
        for (Curve curve : drawn) {
            svg.append("<polyline class='curve' style='stroke:").append(curve.colour()).append("' points='")
                    .append(axes.path(curve.points())).append("'/>");
        }
        return svg.append("</svg></figure>").toString();
    }

    /** The map of embeddings, one group a class, with its legend. */
    static String map(List<Point> points, List<String> classNames) {
        int groups = groups(points);
        StringBuilder legend = new StringBuilder("<div class='legend'>");
        for (int g = 0; g < groups; g++) {
            legend.append("<button data-group='class").append(g).append("'><i style='background:").append(colour(g, groups))
                    .append("'></i>").append(Html.escape(className(classNames, g))).append("</button>");
        }
        return "<div class='map'><figure>" + scatter(points, 640, 480) + "</figure>" + legend + "</div></div>";
    }

    static int groups(List<Point> points) {
        return points.stream().mapToInt(Point::label).max().orElse(-1) + 1;
    }

    static String className(List<String> names, int label) {
        return label < names.size() ? names.get(label) : "class " + label;
    }

    /** The points alone, one group a class. */
    static String scatter(List<Point> points, int width, int height) {
        Scale x = scale(points.stream().mapToDouble(Point::x).toArray(), 8, width - 8);
        Scale y = scale(points.stream().mapToDouble(Point::y).toArray(), height - 8, 8);
        int groups = groups(points);
        StringBuilder svg = new StringBuilder(format("<svg viewBox='0 0 %d %d' role='img'>", width, height));
        for (int g = groups == 0 ? -1 : 0; g < groups; g++) {
            svg.append("<g class='class").append(g).append("' fill='").append(g < 0 ? "var(--accent)" : colour(g, groups))
                    .append("' fill-opacity='.7'>");
            for (Point point : points) {
                if (point.label() == g) {
                    svg.append(format("<circle cx='%.1f' cy='%.1f' r='2.6'/>", x.at(point.x()), y.at(point.y())));
                }
            }
            svg.append("</g>");
        }
        return svg.append("</svg>").toString();
    }

    /** The colour of one of several groups. */
    static String colour(int group, int groups) {
        return groups <= COLOURS.length ? COLOURS[group] : format("hsl(%d 60%% 52%%)", group * 360 / groups);
    }

    // outliers would press the rest together: the frame holds all but the outermost points, which are drawn at its edge
    private static Scale scale(double[] values, double from, double to) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int cut = sorted.length / 200;
        double low = sorted[cut];
        double high = sorted[sorted.length - 1 - cut];
        double margin = Math.max((high - low) * .04, 1e-9);
        return new Scale(low - margin, high + margin, from, to);
    }

    private static List<double[]> thin(List<double[]> points) {
        if (points.size() <= POINTS) {
            return points;
        }
        List<double[]> thinned = new ArrayList<>();
        for (int i = 0; i < POINTS; i++) {
            thinned.add(points.get((int) ((long) i * (points.size() - 1) / (POINTS - 1))));
        }
        return thinned;
    }

    private static List<double[]> average(List<double[]> points) {
        int half = Math.max(1, points.size() / 40);
        List<double[]> averaged = new ArrayList<>();
        for (int i = 0; i < points.size(); i++) {
            int reach = Math.min(half, Math.min(i, points.size() - 1 - i));
            double mean = points.subList(i - reach, i + reach + 1).stream().mapToDouble(p -> p[1]).average().orElseThrow();
            averaged.add(new double[] {points.get(i)[0], mean});
        }
        return averaged;
    }

    private static String tooltips(List<double[]> points, Axes axes, String unit) {
        StringBuilder json = new StringBuilder("[");
        for (double[] point : points) {
            json.append(json.length() > 1 ? "," : "")
                    .append(format("[%.1f,\"%s %.0f: %s\"]", axes.x(point[0]), unit, point[0], Axes.significant(point[1])));
        }
        return json.append("]").toString();
    }
}
