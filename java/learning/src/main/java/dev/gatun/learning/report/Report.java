// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import dev.gatun.learning.Epoch;
import dev.gatun.learning.Experiment;
import dev.gatun.learning.Metrics;
import dev.gatun.learning.Step;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.evaluation.Evaluation.Results;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import dev.gatun.learning.report.ReportData.Mark;
import dev.gatun.learning.report.ReportData.Picture;
import dev.gatun.learning.report.ReportData.Predictions;
import dev.gatun.learning.report.ReportData.Row;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.ToDoubleFunction;

/**
 * The page {@code report.html}: what a run learned, in one file that needs no network. Curves and the map are inline SVG,
 * images are data URIs; light or dark as the reader's system is.
 */
public final class Report {
    /** The file's name in a run's folder. */
    public static final String FILE = "report.html";

    private static final int MOST_CHARTS = 12;

    private static final Map<String, String> NAMED = new LinkedHashMap<>();

    static {
        NAMED.put(Step.SPREAD, "spread of the embeddings (1 is healthy, 0 is collapse)");
        NAMED.put(Epoch.NMI_PREVIOUS, "agreement with the clusters of the epoch before (NMI)");
        NAMED.put(Epoch.NMI_LABELS, "agreement of the clusters with the labels (NMI)");
        NAMED.put(Epoch.CLUSTERS_USED, "clusters that hold a sample");
        NAMED.put("submodel_distance", "mean squared difference of the two submodels' logits");
        NAMED.put("gradient_norm", "norm of the gradient");
    }

    private final ReportData data;
    private final StringBuilder page = new StringBuilder();

    private Report(ReportData data) {
        this.data = data;
    }

    /**
     * Collects and writes the report of a finished run.
     *
     * @param experiment the trained (or restored) experiment
     * @param summary the run's summary
     * @param metrics the lines of its metrics
     * @param results what its end measured
     * @param folder the run's folder
     * @throws dev.gatun.learning.LearningException if it cannot be written; one line
     */
    public static void write(
            Experiment experiment, Summary summary, List<Map<String, Double>> metrics, Results results, Path folder) {
        ReportData data = new ReportCollector(experiment).collect(summary, metrics, results);
        AtomicFile.write(folder.resolve(FILE), render(data));
    }

    /**
     * The page.
     *
     * @param data what it shows
     * @return HTML that is also well-formed XML
     */
    public static String render(ReportData data) {
        return new Report(data).render();
    }

    private String render() {
        page.append(Html.open(data.title(), data.paper()));
        tiles();
        data.classification().ifPresent(this::classification);
        scores();
        curves();
        rows("Views", "What the method sees: a training image, and the random views made from it.", data.views(),
                data.views().stream().allMatch(row -> row.others().size() <= 3) ? "columns" : "");
        if (!data.map().isEmpty()) {
            open("Map of the embeddings", "Test images, or training images if there are none, by the first two principal components of "
                    + "the encoder's features." + (data.classNames().isEmpty() ? "" : " Click a class to hide it."));
            page.append(Charts.map(data.map(), data.classNames())).append("</section>");
        }
        rows("Nearest neighbours", "Test images, or training images if there are none, and the training images whose features are "
                + "nearest in cosine, nearest first."
                + (data.classNames().isEmpty() ? "" : " Green: of the same class; red: of another."), data.neighbours(), "");
        rows("Prototypes", "The training images nearest to some prototypes, from the one that most images are nearest to, to the "
                + "one that fewest are.", data.prototypes(), "columns small");
        facts();
        return page.append(Html.close()).toString();
    }

    private void open(String title, String note) {
        page.append(Html.section(title, note));
    }

    private void tiles() {
        page.append("<div class='tiles'>");
        data.classification().ifPresent(found -> tile(percent(found.accuracy()), "accuracy, test images"));
        Scores trained = data.scores().get("trained");
        if (trained != null) {
            tile(percent(trained.knn()), "kNN, trained");
            tile(percent(trained.linear()), "linear probe, trained");
            tile(percent(trained.shot10()), "10 labels a class, trained");
        }
        tile(value("seconds_train", "%.0f s"), "training");
        tile(value("images_per_second", "%.0f"), "images a second");
        tile(percentOf("waiting_share"), "of it waiting for data");
        if (data.summary().containsKey(Step.PROTOTYPES_USED)) {
            tile(value(Step.PROTOTYPES_USED, "%.0f") + " / " + value(Step.PROTOTYPES, "%.0f"), "prototypes used");
        }
        page.append("</div>");
    }

    private void tile(String number, String label) {
        page.append("<div class='tile'><b>").append(Html.escape(number)).append("</b><span>").append(Html.escape(label))
                .append("</span></div>");
    }

    private String percentOf(String key) {
        return data.summary().get(key) instanceof Number number ? String.format(Locale.ROOT, "%.1f %%", 100 * number.doubleValue()) : "–";
    }

    private String value(String key, String format) {
        return data.summary().get(key) instanceof Number number
                ? String.format(Locale.ROOT, format, number.doubleValue())
                : "–";
    }

    private void classification(Predictions found) {
        open("Predictions", "The classifier's own predictions of the test images. A row is a class, a column what its images were taken "
                + "for; colour by the root of the part of the row. Beside it the wrong predictions that it is surest of.");
        page.append("<div class='predictions'><figure>").append(HeatMap.confusion(found.confusion(), data.classNames()))
                .append("</figure><div class='mistakes'>");
        for (Picture mistake : found.mistakes()) {
            page.append("<div>").append(Html.image(mistake.png(), mistake.title(), "")).append("<span>")
                    .append(Html.escape(mistake.title())).append("</span></div>");
        }
        page.append("</div></div></section>");
    }

    private void scores() {
        if (data.scores().isEmpty()) {
            return;
        }
        open("Scores", "Accuracy on the test images, in percent, of frozen features. " + data.protocol()
                + " Small print: against the untrained encoder.");
        page.append("<table><thead><tr><th>features</th><th>kNN</th><th>linear</th><th>10-shot</th></tr></thead><tbody>");
        data.scores().forEach((features, scores) -> {
            page.append("<tr><td>").append(Html.escape(features)).append("</td>");
            cell(features, scores, Scores::knn);
            cell(features, scores, Scores::linear);
            cell(features, scores, Scores::shot10);
            page.append("</tr>");
        });
        page.append("</tbody></table></section>");
    }

    private void cell(String features, Scores scores, ToDoubleFunction<Scores> which) {
        double score = which.applyAsDouble(scores);
        double best = data.scores().values().stream()
                .mapToDouble(which)
                .filter(Double::isFinite)
                .max()
                .orElse(Double.NaN);
        page.append(score == best ? "<td class='best'>" : "<td>").append("<span class='score'>").append(percent(score))
                .append("</span><span class='meter'><i style='width:")
                .append(String.format(Locale.ROOT, "%.1f", Double.isFinite(score) ? score : 0)).append("%'></i></span>");
        Scores random = data.scores().get("random");
        if (random != null && features.equals("trained") && Double.isFinite(score - which.applyAsDouble(random))) {
            page.append("<span class='delta'>")
                    .append(String.format(Locale.ROOT, "%+.1f", score - which.applyAsDouble(random))).append("</span>");
        }
        page.append("</td>");
    }

    private static String percent(double score) {
        return Double.isFinite(score) ? String.format(Locale.ROOT, "%.1f", score) : "–";
    }

    private void curves() {
        List<Map<String, Double>> metrics = data.metrics();
        double uninformed = number(Step.UNINFORMED_LOSS);
        String loss = Double.isFinite(uninformed) ? "loss (dashed: predicting nothing)" : "loss";
        StringBuilder charts = new StringBuilder(Charts.line(loss, metrics, "loss", true, uninformed))
                .append(Charts.line("learning rate", metrics, "lr", false, Double.NaN))
                .append(Charts.line("prototypes used (dashed: all)", metrics, Step.PROTOTYPES_USED, false, number(Step.PROTOTYPES)));
        NAMED.forEach((metric, caption) -> charts.append(Charts.line(caption, metrics, metric, true, Double.NaN)));
        others(metrics).stream()
                .map(metric -> Charts.line(metric.replace('_', ' '), metrics, metric, true, Double.NaN))
                .filter(chart -> !chart.isEmpty())
                .limit(MOST_CHARTS)
                .forEach(charts::append);
        charts.append(Charts.line("images a second", metrics, "images_per_second", false, Double.NaN));
        if (!charts.isEmpty()) {
            open("Training", "By training step where nothing else is said. Point at a curve to read it.");
            page.append("<div class='charts'>").append(charts).append("</div></section>");
        }
    }

    // what a method logs that nobody here knows
    private static Set<String> others(List<Map<String, Double>> metrics) {
        Set<String> names = new LinkedHashSet<>();
        metrics.forEach(line -> names.addAll(line.keySet()));
        names.removeAll(Metrics.OF_EVERY_STEP);
        names.removeAll(NAMED.keySet());
        names.removeAll(Set.of(Step.UNINFORMED_LOSS, Step.PROTOTYPES, Step.PROTOTYPES_USED));
        return names;
    }

    private double number(String key) {
        return data.summary().get(key) instanceof Number number ? number.doubleValue() : Double.NaN;
    }

    private void rows(String title, String note, List<Row> rows, String style) {
        if (rows.isEmpty()) {
            return;
        }
        open(title, note);
        page.append(style.isEmpty() ? "<div>" : "<div class='" + style + "'>");
        for (Row row : rows) {
            page.append("<div class='row'><div class='name'>").append(Html.escape(row.label())).append("</div>");
            if (row.image().length > 0) {
                page.append(Html.image(row.image(), row.label(), "")).append("<span class='arrow'>→</span>");
            }
            for (Picture picture : row.others()) {
                page.append(Html.image(picture.png(), picture.title(), style(picture.mark())));
            }
            page.append("</div>");
        }
        page.append("</div></section>");
    }

    /** The style of an image with a mark. */
    static String style(Mark mark) {
        return switch (mark) {
            case NONE -> "";
            case SAME -> "same";
            case OTHER -> "other";
        };
    }

    private void facts() {
        open("The run", "Everything in summary.json, and the pipeline file that reproduces it.");
        page.append("<div class='facts'>");
        data.summary().forEach((key, value) -> {
            if (!(value instanceof Map)) {
                page.append("<div><span>").append(Html.escape(key.replace('_', ' '))).append("</span><b>")
                        .append(Html.escape(fact(key, value))).append("</b></div>");
            }
        });
        page.append("</div><br/><details><summary>config.yaml</summary><pre>").append(Html.escape(data.config()))
                .append("</pre></details></section>");
    }

    private static String fact(String key, Object value) {
        if (key.endsWith("_bytes") && value instanceof Number bytes) {
            return String.format(Locale.ROOT, "%.0f MiB", bytes.doubleValue() / (1 << 20));
        }
        return value instanceof Number number ? Axes.significant(number.doubleValue()) : String.valueOf(value);
    }
}
