// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import java.util.List;
import java.util.Locale;

/** The frame of a line chart as inline SVG: scales, ticks, numbers. */
final class Axes {
    static final int WIDTH = 480;
    static final int HEIGHT = 220;
    private static final int LEFT = 46;
    private static final int BOTTOM = 24;
    private static final int TOP = 8;

    private final Scale x;
    private final Scale y;

    private Axes(Scale x, Scale y) {
        this.x = x;
        this.y = y;
    }

    /** From values to places. */
    record Scale(double low, double high, double from, double to) {
        double at(double value) {
            double part = high > low ? (value - low) / (high - low) : .5;
            return from + Math.clamp(part, 0, 1) * (to - from);
        }
    }

    /** Around points (x, y), with a little room above and below. */
    static Axes around(List<double[]> points, double... alsoShown) {
        double low = Double.POSITIVE_INFINITY;
        double high = Double.NEGATIVE_INFINITY;
        double first = Double.POSITIVE_INFINITY;
        double last = Double.NEGATIVE_INFINITY;
        for (double[] point : points) {
            low = Math.min(low, point[1]);
            high = Math.max(high, point[1]);
            first = Math.min(first, point[0]);
            last = Math.max(last, point[0]);
        }
        for (double value : alsoShown) {
            if (Double.isFinite(value)) {
                low = Math.min(low, value);
                high = Math.max(high, value);
            }
        }
        double margin = high > low ? (high - low) * .06 : Math.max(Math.abs(high) * .1, 1e-9);
        return new Axes(
                new Scale(first, last, LEFT, WIDTH - 8), new Scale(low - margin, high + margin, HEIGHT - BOTTOM, TOP));
    }

    double x(double value) {
        return x.at(value);
    }

    double y(double value) {
        return y.at(value);
    }

    /** The start of the picture: its frame, lines and numbers. */
    String open() {
        StringBuilder svg = new StringBuilder(format("<svg viewBox='0 0 %d %d' role='img'>", WIDTH, HEIGHT));
        double step = niceStep(y.high() - y.low(), 4);
        for (double v = Math.ceil(y.low() / step) * step; v <= y.high(); v += step) {
            svg.append(format("<line class='grid' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/>", LEFT, WIDTH - 8, y(v), y(v)));
            svg.append(format("<text x='%d' y='%.1f' text-anchor='end'>%s</text>", LEFT - 6, y(v) + 4, number(v, step)));
        }
        step = Math.max(1, niceStep(x.high() - x.low(), 5));
        for (double v = Math.ceil(x.low() / step) * step; v <= x.high(); v += step) {
            svg.append(format("<text x='%.1f' y='%d' text-anchor='middle'>%s</text>", x(v), HEIGHT - 6, number(v, step)));
        }
        return svg.toString();
    }

    /** A dashed line at a height. */
    String reference(double value) {
        return format("<line class='reference' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/>", LEFT, WIDTH - 8, y(value), y(value));
    }

    /** The line that follows the pointer. */
    String cross() {
        return format("<line class='cross' y1='%d' y2='%d'/>", TOP, HEIGHT - BOTTOM);
    }

    /** The points of a polyline. */
    String path(List<double[]> points) {
        StringBuilder path = new StringBuilder();
        for (double[] point : points) {
            path.append(format("%.1f,%.1f ", x(point[0]), y(point[1])));
        }
        return path.toString().strip();
    }

    private static double niceStep(double range, int count) {
        double raw = Math.max(range, 1e-300) / count;
        double power = Math.pow(10, Math.floor(Math.log10(raw)));
        double part = raw / power;
        return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
    }

    private static String number(double value, double step) {
        double clean = Math.abs(value) < step / 1e6 ? 0 : value;
        if (clean != 0 && step < 1e-4) {
            return format("%.0e", clean);
        }
        if (step >= 1000 && clean != 0) {
            return Math.abs(clean) >= 1e6 ? format("%.4gM", clean / 1e6).replaceAll("\\.?0+M", "M") : format("%.0fk", clean / 1e3);
        }
        int digits = Math.max(0, (int) Math.ceil(-Math.log10(step) - 1e-9));
        return format("%." + digits + "f", clean);
    }

    /** A number with about four digits. */
    static String significant(double value) {
        return value == Math.rint(value) && Math.abs(value) < 1e9
                ? format("%.0f", value)
                : Math.abs(value) >= 1e-2 && Math.abs(value) < 1e6 ? format("%.4g", value) : format("%.2e", value);
    }

    static String format(String format, Object... values) {
        return String.format(Locale.ROOT, format, values);
    }
}
