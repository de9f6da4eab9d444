// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.ComparisonData.Entrant;
import dev.gatun.learning.report.ComparisonData.Gallery;
import dev.gatun.learning.report.ComparisonData.Run;
import dev.gatun.learning.report.ComparisonData.Spread;
import dev.gatun.learning.report.ReportData.Mark;
import dev.gatun.learning.report.ReportData.Picture;
import dev.gatun.learning.report.ReportData.Point;
import dev.gatun.learning.report.ReportData.Row;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;

class ComparisonReportTest {
    private static final Pipeline PIPELINE = PipelineReader.parse("""
            version: 1
            data: {name: synthetic, batch: 12}
            views: {name: noise}
            model: {name: matrix}
            method: {name: pull}
            optimizer: {name: adamw}
            """, "some.yaml", List.of(), null);

    private static Run run(String name, long seed, double knn, double random, double accuracy) {
        Map<String, Object> summary = new LinkedHashMap<>(Map.of(
                "steps", 100, "images", 96, "seconds_train", 3.5, "images_per_second", 343, "seed", seed, "parameters", 70,
                "scores", Map.of(
                        "pixels", Map.of("knn", 84.6, "linear", 84.5, "shot10", 71.2),
                        "random", Map.of("knn", random, "linear", 70, "shot10", 60),
                        "trained", Map.of("knn", knn, "linear", 80, "shot10", "NaN"))));
        if (accuracy > 0) {
            summary.put("test_accuracy", accuracy);
        }
        List<Map<String, Double>> metrics = new ArrayList<>();
        for (int step = 1; step <= 100; step++) {
            metrics.add(Map.of("step", (double) step, "epoch", 1.0, "loss", 5.0 / step, "seconds", .03 * step, "spread", .9));
        }
        return new Run(name, seed, "", Optional.of(new Summary(summary)), metrics, "gatun pretrain <x>");
    }

    private static Optional<Gallery> gallery(int query) {
        byte[] png = {1, 2, 3};
        Row row = new Row("coat & <hat>", new byte[] {(byte) query}, List.of(new Picture(png, "a", Mark.SAME), new Picture(png, "b", Mark.OTHER)));
        return Optional.of(new Gallery(List.of(new Point(1, 2, 0), new Point(0, 1, 1)), List.of("coat & <hat>", "bag"), List.of(row), 2));
    }

    private static ComparisonData data() {
        Entrant a = new Entrant("fm-<a>", PIPELINE, List.of(run("a1", 1, 85, 77, 0), run("a2", 2, 86, 78, 0)), gallery(1));
        Entrant b = new Entrant("fm-b", PIPELINE, List.of(run("b1", 1, 88, 77, 91), run("b2", 2, 90, 78, 93)), gallery(1));
        Run failed = new Run("c1", 1, "step 5: the loss is NaN & <gone>", Optional.empty(), List.of(), "gatun pretrain c");
        Entrant c = new Entrant("fm-c", PIPELINE, List.of(failed, new Run("c2", 2, "likewise", Optional.empty(), List.of(), "")), Optional.empty());
        return new ComparisonData("60s", 60, 0, 2, "gatun compare <these>", List.of(a, b, c));
    }

    @Test
    void isOneWellFormedFileWithMeansAndSpreads() throws Exception {
        String page = ComparisonReport.render(data());
        Document document = ReportTest.parse(page);
        assertFalse(page.contains("http:") || page.contains("https:") || page.contains("href=") || page.contains("<hat>"));
        assertEquals(2 + 3, document.getElementsByTagName("tbody").item(0).getChildNodes().getLength(), "floors once, and the pipelines");
        assertTrue(page.contains("<td class='best'><span class='score'>89.0</span><span class='delta'>88.0 – 90.0</span>"));
        assertTrue(page.contains("<span class='score'>85.5</span><span class='delta'>85.0 – 86.0</span>"));
        assertTrue(page.contains("<span class='score'>92.0</span>"), "accuracy of the classifier");
        assertTrue(page.contains("failed: step 5: the loss is NaN &amp; &lt;gone&gt;") && page.contains("c2 failed: likewise"));
        // 100 steps of 12 samples with 2 views
        assertTrue(page.contains("<td>1,200</td><td>2,400</td><td>343</td><td>686</td>"));
        // one query asked of two encoders, two answers each
        assertEquals(1 + 2 * 2, document.getElementsByTagName("img").getLength());
        assertEquals(2 * 2 * 2 + 2 * 2, page.split("<polyline", -1).length - 1, "loss by images and seconds, spread; a curve a seed");
        assertTrue(page.contains(">b</text>") && !page.contains(">fm-b</text>"), "charts leave out what all names begin with");
        assertTrue(page.contains("gatun compare &lt;these&gt;"));
    }

    @Test
    void floorsThatDifferAreNamed() {
        ComparisonData d = data();
        Entrant other = new Entrant("fm-other", PIPELINE, List.of(run("o1", 1, 85, 70, 0), run("o2", 2, 86, 71, 0)), gallery(2));
        String page = ComparisonReport.render(new ComparisonData("9images", 0, 9, 2, "", List.of(d.entrants().get(1), other)));
        assertTrue(page.contains("<td>raw pixels</td>"));
        assertTrue(page.contains("<td>untrained encoder of fm-b</td>") && page.contains("<td>untrained encoder of fm-other</td>"));
        // other data, other queries: each stands alone
        assertEquals(2 * (1 + 2), page.split("<img ", -1).length - 1);
    }

    @Test
    void aSpreadIsMeanLowestAndHighest() {
        Spread spread = Spread.of(3, 1, 5);
        assertEquals(3, spread.mean());
        assertEquals(1, spread.low());
        assertEquals(5, spread.high());
        assertArrayEquals(new double[] {3, 1, 5}, spread.values());
        assertTrue(Double.isNaN(Spread.of().mean()));
    }
}
