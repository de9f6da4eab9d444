// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import static dev.gatun.learning.report.Axes.format;

import dev.gatun.learning.profile.Profile;
import java.util.ArrayList;
import java.util.List;

/** A profile as a picture: a bar for each operation and for what is outside of them, with the part that the ceilings allow in dark. */
public final class ProfileChart {
    private static final int WIDTH = 900;
    private static final int LABEL = 250;
    private static final int VALUE = 210;
    private static final int ROW = 24;
    private static final int BAR = 16;
    private static final int TOP = 56;
    private static final int SHOWN = 20;
    private static final double LEAST_SHARE = .001;

    private ProfileChart() {}

    private record Bar(String name, double seconds, double bound, String colour) {}

    /**
     * Draws a profile.
     *
     * @param title of the picture
     * @return an SVG file
     */
    public static String svg(String title, Profile profile) {
        List<Bar> bars = new ArrayList<>();
        for (Profile.Kernel k : profile.operations()) {
            bars.add(new Bar(k.operation(), k.seconds(), Math.min(k.boundSeconds(), k.seconds()), "#8fb8e0"));
        }
        bars.add(new Bar("waiting for data", profile.waiting(), 0, "#f0a868"));
        bars.add(new Bar("memory taken and given back", profile.memory(), 0, "#b9a3d8"));
        bars.add(new Bar("Java", profile.java(), 0, "#a8b3bf"));
        List<Bar> shown = bars.stream()
                .filter(bar -> bar.seconds() >= LEAST_SHARE * profile.seconds())
                .sorted((a, b) -> Double.compare(b.seconds(), a.seconds()))
                .limit(SHOWN)
                .toList();
        double longest = shown.stream().mapToDouble(Bar::seconds).max().orElse(1);
        int height = TOP + shown.size() * ROW + 12;
        StringBuilder svg = new StringBuilder(format(
                "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' font-family='system-ui, sans-serif' font-size='13'>"
                        + "<rect width='100%%' height='100%%' fill='#ffffff'/>",
                WIDTH, height, WIDTH, height));
        svg.append(format("<text x='12' y='24' font-size='16' fill='#1c2430'>%s: %.4g ms a step</text>", Html.escape(title),
                profile.seconds() * 1e3));
        svg.append("<text x='12' y='44' fill='#5d6b7e'>light: time of all calls in a step; dark: what the ceilings of this machine allow</text>");
        for (int i = 0; i < shown.size(); i++) {
            draw(svg, shown.get(i), TOP + i * ROW, (WIDTH - LABEL - VALUE) / longest, profile.seconds());
        }
        return svg.append("</svg>\n").toString();
    }

    private static void draw(StringBuilder svg, Bar bar, int y, double scale, double all) {
        int text = y + BAR - 3;
        svg.append(format("<text x='%d' y='%d' text-anchor='end' fill='#1c2430'>%s</text>", LABEL - 8, text, Html.escape(bar.name())));
        svg.append(format("<rect x='%d' y='%d' width='%.1f' height='%d' fill='%s'/>", LABEL, y, bar.seconds() * scale, BAR, bar.colour()));
        if (bar.bound() > 0) {
            svg.append(format("<rect x='%d' y='%d' width='%.1f' height='%d' fill='#1f5f9e'/>", LABEL, y, bar.bound() * scale, BAR));
        }
        svg.append(format("<text x='%.1f' y='%d' fill='#5d6b7e'>%.3g ms, %.1f %%%s</text>", LABEL + bar.seconds() * scale + 6, text,
                bar.seconds() * 1e3, 100 * bar.seconds() / all,
                bar.bound() > 0 ? format(", at %.0f %% of the ceiling", 100 * bar.bound() / bar.seconds()) : ""));
    }
}
