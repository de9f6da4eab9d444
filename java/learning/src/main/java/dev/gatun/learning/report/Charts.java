// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import dev.gatun.learning.report.ReportData.Point;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Inline SVG: a metric by step, and the map of embeddings. */
final class Charts {
    private static final int WIDTH = 480;
    private static final int HEIGHT = 220;
    private static final int LEFT = 46;
    private static final int BOTTOM = 24;
    private static final int TOP = 8;
    private static final int POINTS = 400;
    private static final String[] COLOURS = {
        "#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8e9aa8"
    };

    private Charts() {}

    /**
     * A line chart of a metric; empty if no line has it.
     *
     * @param caption the chart's title
     * @param metric which value
     * @param smooth whether a moving average is drawn over the values
     * @param reference a dashed line at this height; NaN = none
     */
    static String line(String caption, List<Map<String, Double>> metrics, String metric, boolean smooth, double reference) {
        List<double[]> points = new ArrayList<>();
        for (Map<String, Double> line : metrics) {
            Double value = line.get(metric);
            if (value != null && Double.isFinite(value)) {
                points.add(new double[] {line.get("step"), value});
            }
        }
        if (points.size() < 2) {
            return "";
        }
        points = thin(points);
        double low = points.stream().mapToDouble(p -> p[1]).min().orElseThrow();
        double high = points.stream().mapToDouble(p -> p[1]).max().orElseThrow();
        if (Double.isFinite(reference)) {
            low = Math.min(low, reference);
            high = Math.max(high, reference);
        }
        if (!smooth) {
            // a rate or a count: its distance from nothing is what matters
            low = Math.min(low, 0);
        }
        double margin = high > low ? (high - low) * .06 : Math.max(Math.abs(high) * .1, 1e-9);
        Scale x = new Scale(points.getFirst()[0], points.getLast()[0], LEFT, WIDTH - 8);
        Scale y = new Scale(low - margin, high + margin, HEIGHT - BOTTOM, TOP);

        StringBuilder svg = new StringBuilder();
        svg.append("<figure data-points='").append(tooltips(points, x)).append("'><figcaption>").append(Html.escape(caption))
                .append("</figcaption><svg viewBox='0 0 ").append(WIDTH).append(' ').append(HEIGHT).append("' role='img'>");
        axes(svg, x, y);
        if (Double.isFinite(reference)) {
            svg.append(format("<line class='reference' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/>", LEFT, WIDTH - 8,
                    y.at(reference), y.at(reference)));
        }
        svg.append("<polyline class='").append(smooth ? "raw" : "smooth").append("' points='").append(path(points, x, y))
                .append("'/>");
        if (smooth) {
            svg.append("<polyline class='smooth' points='").append(path(average(points), x, y)).append("'/>");
        }
        svg.append(format("<line class='cross' y1='%d' y2='%d'/></svg><div class='tip'></div></figure>", TOP, HEIGHT - BOTTOM));
        return svg.toString();
    }

    /** The map of embeddings, one group a class, with its legend. */
    static String map(List<Point> points, List<String> classNames) {
        Scale x = scale(points.stream().mapToDouble(Point::x).toArray(), 8, 632);
        Scale y = scale(points.stream().mapToDouble(Point::y).toArray(), 472, 8);
        int groups = points.stream().mapToInt(Point::label).max().orElse(-1) + 1;
        StringBuilder svg = new StringBuilder("<div class='map'><figure><svg viewBox='0 0 640 480' role='img'>");
        StringBuilder legend = new StringBuilder("<div class='legend'>");
        for (int g = groups == 0 ? -1 : 0; g < groups; g++) {
            String colour = g < 0 ? "var(--accent)" : colour(g, groups);
            svg.append("<g id='class").append(g).append("' fill='").append(colour).append("' fill-opacity='.7'>");
            for (Point point : points) {
                if (point.label() == g) {
                    svg.append(format("<circle cx='%.1f' cy='%.1f' r='2.6'/>", x.at(point.x()), y.at(point.y())));
                }
            }
            svg.append("</g>");
            if (g >= 0) {
                String name = g < classNames.size() ? classNames.get(g) : "class " + g;
                legend.append("<button data-group='class").append(g).append("'><i style='background:").append(colour)
                        .append("'></i>").append(Html.escape(name)).append("</button>");
            }
        }
        return svg.append("</svg></figure>").append(legend).append("</div></div>").toString();
    }

    private static String colour(int group, int groups) {
        return groups <= COLOURS.length ? COLOURS[group] : format("hsl(%d 60%% 52%%)", group * 360 / groups);
    }

    // outliers would press the rest together: the frame holds all but the outermost points, which are drawn at its edge
    private static Scale scale(double[] values, double from, double to) {
        double[] sorted = values.clone();
        java.util.Arrays.sort(sorted);
        int cut = sorted.length / 200;
        double low = sorted[cut];
        double high = sorted[sorted.length - 1 - cut];
        double margin = Math.max((high - low) * .04, 1e-9);
        return new Scale(low - margin, high + margin, from, to);
    }

    private record Scale(double low, double high, double from, double to) {
        double at(double value) {
            double part = high > low ? (value - low) / (high - low) : .5;
            return from + Math.clamp(part, 0, 1) * (to - from);
        }
    }

    private static void axes(StringBuilder svg, Scale x, Scale y) {
        double step = niceStep(y.high() - y.low(), 4);
        for (double v = Math.ceil(y.low() / step) * step; v <= y.high(); v += step) {
            svg.append(format("<line class='grid' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/>", LEFT, WIDTH - 8, y.at(v), y.at(v)));
            svg.append(format("<text x='%d' y='%.1f' text-anchor='end'>%s</text>", LEFT - 6, y.at(v) + 4, number(v, step)));
        }
        step = Math.max(1, niceStep(x.high() - x.low(), 5));
        for (double v = Math.ceil(x.low() / step) * step; v <= x.high(); v += step) {
            svg.append(format("<text x='%.1f' y='%d' text-anchor='middle'>%s</text>", x.at(v), HEIGHT - 6, number(v, step)));
        }
    }

    private static double niceStep(double range, int count) {
        double raw = range / count;
        double power = Math.pow(10, Math.floor(Math.log10(raw)));
        double part = raw / power;
        return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
    }

    private static String number(double value, double step) {
        double clean = Math.abs(value) < step / 1e6 ? 0 : value;
        if (clean != 0 && step < 1e-4) {
            return format("%.0e", clean);
        }
        int digits = Math.max(0, (int) Math.ceil(-Math.log10(step) - 1e-9));
        return format("%." + digits + "f", clean);
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

    private static String path(List<double[]> points, Scale x, Scale y) {
        StringBuilder path = new StringBuilder();
        for (double[] point : points) {
            path.append(format("%.1f,%.1f ", x.at(point[0]), y.at(point[1])));
        }
        return path.toString().strip();
    }

    private static String tooltips(List<double[]> points, Scale x) {
        StringBuilder json = new StringBuilder("[");
        for (double[] point : points) {
            json.append(json.length() > 1 ? "," : "")
                    .append(format("[%.1f,\"step %.0f: %s\"]", x.at(point[0]), point[0], significant(point[1])));
        }
        return json.append("]").toString();
    }

    static String significant(double value) {
        return value == Math.rint(value) && Math.abs(value) < 1e9
                ? format("%.0f", value)
                : Math.abs(value) >= 1e-2 && Math.abs(value) < 1e6 ? format("%.4g", value) : format("%.2e", value);
    }

    private static String format(String format, Object... values) {
        return String.format(Locale.ROOT, format, values);
    }
}
