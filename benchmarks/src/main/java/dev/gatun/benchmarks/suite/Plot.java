// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import java.awt.Color;
import java.awt.Font;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.CategorySeries;
import org.knowm.xchart.style.CategoryStyler;
import org.knowm.xchart.style.Styler;

/** The rows that have a target: their ratio to PyTorch's fastest form, and the target. */
final class Plot {
    private static final int HEIGHT = 760;
    private static final int ROW_WIDTH = 34;

    private Plot() {}

    static void write(Results results, Path file) throws IOException {
        List<String> labels = new ArrayList<>();
        List<Double> ratios = new ArrayList<>();
        List<Double> targets = new ArrayList<>();
        for (Verdict row : Verdict.of(results.rows())) {
            row.targets().forEach((form, target) -> row.nearest(PeerEnvironment.Kind.TUNED, form).ifPresent(rival -> {
                labels.add(row.operation() + " " + row.label() + (form.isEmpty() ? "" : " / " + form));
                ratios.add(rival.ratio().median());
                targets.add(target);
            }));
        }
        if (labels.isEmpty()) {
            return;
        }
        CategoryChart chart = new CategoryChartBuilder()
                .width(220 + ROW_WIDTH * labels.size())
                .height(HEIGHT)
                .title("Time of PyTorch's fastest form over ours, by turns in one process (1 = equal)")
                .build();
        CategoryStyler style = chart.getStyler();
        style.setAvailableSpaceFill(0.7);
        style.setXAxisLabelRotation(90);
        style.setLegendPosition(Styler.LegendPosition.OutsideE);
        style.setChartBackgroundColor(Color.WHITE);
        style.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 11));
        style.setOverlapped(true);
        chart.addSeries("ours faster by", labels, ratios).setFillColor(new Color(0x3B7DD8));
        CategorySeries aim = chart.addSeries("target", labels, targets);
        aim.setChartCategorySeriesRenderStyle(CategorySeries.CategorySeriesRenderStyle.Scatter);
        aim.setMarkerColor(new Color(0xD8502B));
        BitmapEncoder.saveBitmap(chart, file.toString(), BitmapEncoder.BitmapFormat.PNG);
    }
}
