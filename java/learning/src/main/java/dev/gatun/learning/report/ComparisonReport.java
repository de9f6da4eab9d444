// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import static dev.gatun.learning.report.Axes.format;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.Step;
import dev.gatun.learning.report.Charts.Curve;
import dev.gatun.learning.report.ComparisonData.Entrant;
import dev.gatun.learning.report.ComparisonData.Gallery;
import dev.gatun.learning.report.ComparisonData.Run;
import dev.gatun.learning.report.ComparisonData.Spread;
import dev.gatun.learning.report.ReportData.Picture;
import dev.gatun.learning.report.ReportData.Row;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;

/** The page {@code compare.html}: several pipelines under one budget, side by side, in one file that needs no network. */
public final class ComparisonReport {
    /** The file's name in a comparison's folder. */
    public static final String FILE = "compare.html";

    private static final String[][] SCORES = {{"knn", "kNN"}, {"linear", "linear"}, {"shot10", "10-shot"}};
    private static final int SHOWN_NEIGHBOURS = 8;

    private final ComparisonData data;
    private final StringBuilder page = new StringBuilder();

    private ComparisonReport(ComparisonData data) {
        this.data = data;
    }

    /**
     * What a trained encoder makes of images that are the same for all experiments on the same data.
     *
     * @param experiment a trained (or restored) experiment
     */
    public static Gallery gallery(Experiment experiment) {
        return new ReportCollector(experiment).gallery();
    }

    /**
     * The page.
     *
     * @param data what it shows
     * @return HTML that is also well-formed XML
     */
    public static String render(ComparisonData data) {
        return new ComparisonReport(data).render();
    }

    private String render() {
        int count = data.entrants().size();
        page.append(Html.open(
                count + (count == 1 ? " pipeline" : " pipelines") + " under one budget: " + data.budget().replaceFirst("(?<=[0-9])(?=images)", " "),
                String.join(", ", data.entrants().stream().map(Entrant::name).toList())));
        scores();
        costs();
        curves();
        maps();
        neighbours();
        fairPlay();
        return page.append(Html.close()).toString();
    }

    private String colour(Entrant entrant) {
        return Charts.colour(data.entrants().indexOf(entrant), data.entrants().size());
    }

    // without what all names begin with, for charts
    private String shortName(Entrant entrant) {
        List<String> names = data.entrants().stream().map(Entrant::name).toList();
        int dash = entrant.name().lastIndexOf('-');
        while (dash >= 0) {
            String start = entrant.name().substring(0, dash + 1);
            if (names.size() > 1 && names.stream().allMatch(name -> name.startsWith(start))) {
                return entrant.name().substring(dash + 1);
            }
            dash = entrant.name().lastIndexOf('-', dash - 1);
        }
        return entrant.name();
    }

    private static String name(String name, String colour) {
        return "<i class='swatch' style='background:" + colour + "'></i>" + Html.escape(name);
    }

    private void scores() {
        boolean classified = data.entrants().stream().anyMatch(entrant -> entrant.spread("test_accuracy").count() > 0);
        page.append(Html.section("Scores", "Accuracy on the test images, in percent: of frozen features by the vote of the nearest "
                + "neighbours, a linear probe on all labels and one on few"
                + (classified ? "; and that of a classifier's own head, which has seen labels" : "") + "."
                + (data.seeds() > 1 ? " The mean of " + data.seeds() + " seeds, and from the lowest to the highest." : "")));
        page.append("<table class='compare'><thead><tr><th>pipeline</th><th>kNN</th><th>linear</th><th>10-shot</th>")
                .append(classified ? "<th>accuracy</th>" : "").append("</tr></thead><tbody>");
        for (Map.Entry<String, Entrant> floor : floors("pixels").entrySet()) {
            floor("raw pixels" + floor.getKey(), "pixels", floor.getValue(), classified);
        }
        for (Map.Entry<String, Entrant> floor : floors("random").entrySet()) {
            floor("untrained encoder" + floor.getKey(), "random", floor.getValue(), classified);
        }
        for (Entrant entrant : data.entrants()) {
            page.append("<tr><td>").append(name(entrant.name(), colour(entrant))).append("</td>");
            if (entrant.failures() == entrant.runs().size()) {
                page.append("<td class='failed' colspan='").append(classified ? 4 : 3).append("'>failed: ")
                        .append(Html.escape(entrant.runs().getFirst().failure())).append("</td></tr>");
                continue;
            }
            for (String[] score : SCORES) {
                cell(entrant.spread("scores", "trained", score[0]), best("scores", "trained", score[0]));
            }
            if (classified) {
                cell(entrant.spread("test_accuracy"), best("test_accuracy"));
            }
            page.append("</tr>");
        }
        page.append("</tbody></table>");
        data.entrants().stream()
                .flatMap(entrant -> entrant.runs().stream())
                .filter(run -> !run.failure().isEmpty())
                .forEach(run -> page.append("<p class='failed'>").append(Html.escape(run.name() + " failed: " + run.failure()))
                        .append("</p>"));
        page.append("<div class='charts bars'>");
        for (String[] score : SCORES) {
            List<Dots.Bar> bars = data.entrants().stream()
                    .map(entrant -> new Dots.Bar(shortName(entrant), colour(entrant), entrant.spread("scores", "trained", score[0])))
                    .toList();
            page.append(Dots.chart(score[1] + " (dashed: floors)", bars, floorLines(score[0])));
        }
        page.append(Dots.chart("accuracy of the classifier itself", data.entrants().stream()
                .map(entrant -> new Dots.Bar(shortName(entrant), colour(entrant), entrant.spread("test_accuracy")))
                .toList(), List.of())).append("</div></section>");
    }

    private List<Dots.Floor> floorLines(String score) {
        List<Dots.Floor> lines = new ArrayList<>();
        floors("pixels").values().forEach(entrant -> lines.add(
                new Dots.Floor("pixels", entrant.spread("scores", "pixels", score).mean())));
        floors("random").values().forEach(entrant -> lines.add(
                new Dots.Floor("untrained", entrant.spread("scores", "random", score).mean())));
        return lines;
    }

    // entrants with different floors, by the names of those that share each; no names if all share one
    private Map<String, Entrant> floors(String features) {
        List<List<Entrant>> groups = new ArrayList<>();
        for (Entrant entrant : data.entrants()) {
            double[] values = entrant.spread("scores", features, "knn").values();
            if (values.length > 0) {
                groups.stream()
                        .filter(group -> Arrays.equals(group.getFirst().spread("scores", features, "knn").values(), values))
                        .findFirst()
                        .orElseGet(() -> {
                            groups.add(new ArrayList<>());
                            return groups.getLast();
                        })
                        .add(entrant);
            }
        }
        Map<String, Entrant> named = new LinkedHashMap<>();
        groups.forEach(group -> named.put(
                groups.size() == 1 ? "" : " of " + String.join(", ", group.stream().map(Entrant::name).toList()), group.getFirst()));
        return named;
    }

    private void floor(String title, String features, Entrant entrant, boolean classified) {
        page.append("<tr class='floor'><td>").append(Html.escape(title)).append("</td>");
        for (String[] score : SCORES) {
            cell(entrant.spread("scores", features, score[0]), Double.NaN);
        }
        page.append(classified ? "<td></td>" : "").append("</tr>");
    }

    private double best(String... path) {
        return data.entrants().stream()
                .mapToDouble(entrant -> entrant.spread(path).mean())
                .filter(Double::isFinite)
                .max()
                .orElse(Double.NaN);
    }

    private void cell(Spread spread, double best) {
        page.append(spread.mean() == best ? "<td class='best'>" : "<td>").append("<span class='score'>")
                .append(spread.count() == 0 ? "–" : format("%.1f", spread.mean())).append("</span>").append(range(spread, "%.1f"))
                .append("</td>");
    }

    private static String range(Spread spread, String form) {
        return spread.count() < 2 || spread.low() == spread.high()
                ? ""
                : "<span class='delta'>" + format(form, spread.low()) + " – " + format(form, spread.high()) + "</span>";
    }

    private void costs() {
        page.append(Html.section("What each run got", (data.seconds() > 0
                        ? "Asked for: " + format("%.0f", data.seconds()) + " seconds of training, what happens between epochs included. "
                                + "A short training before gave the number of steps at which the schedule ends; the machine was "
                                + "slower or faster afterwards than then by what the seconds differ."
                        : "Asked for: " + format("%,d", data.images()) + " images drawn, whatever time and number of views they take.")
                + " Memory: the most that tensors took while training; unknown for a run that was resumed."));
        page.append("<table class='compare'><thead><tr><th>pipeline</th><th>steps</th><th>epochs</th><th>seconds</th><th>images</th>"
                + "<th>views</th><th>images/s</th><th>views/s</th><th>memory</th></tr></thead><tbody>");
        for (Entrant entrant : data.entrants()) {
            page.append("<tr><td>").append(name(entrant.name(), colour(entrant))).append("</td>");
            Spread steps = entrant.spread("steps");
            if (steps.count() == 0) {
                page.append("<td class='failed' colspan='8'>failed</td></tr>");
                continue;
            }
            double images = steps.mean() * entrant.update();
            double size = entrant.spread("images").mean();
            cost(format("%,.0f", steps.mean()), "");
            cost(format("%.1f", images / size), "");
            Spread seconds = entrant.spread("seconds_train");
            cost(format("%.1f", seconds.mean()), range(seconds, "%.1f"));
            cost(format("%,.0f", images), "");
            cost(format("%,.0f", images * entrant.views()), "");
            Spread rate = entrant.spread("images_per_second");
            cost(format("%,.0f", rate.mean()), "");
            cost(format("%,.0f", rate.mean() * entrant.views()), "");
            Spread memory = entrant.spread("peak_training_bytes");
            cost(memory.count() == 0 ? "–" : format("%.0f MiB", memory.high() / (1 << 20)), "");
            page.append("</tr>");
        }
        page.append("</tbody></table></section>");
    }

    private void cost(String text, String more) {
        page.append("<td>").append(text).append(more).append("</td>");
    }

    private void curves() {
        double mostImages = most(this::imagesAt);
        double mostSeconds = most((entrant, line) -> line.getOrDefault("seconds", Double.NaN));
        StringBuilder charts = new StringBuilder();
        for (Entrant entrant : data.entrants()) {
            charts.append(Charts.curves(entrant.name() + ": loss by images",
                            curves(entrant, "loss", line -> imagesAt(entrant, line)), mostImages))
                    .append(Charts.curves(entrant.name() + ": loss by seconds",
                            curves(entrant, "loss", line -> line.getOrDefault("seconds", Double.NaN)), mostSeconds));
        }
        List<Curve> spread = new ArrayList<>();
        data.entrants().forEach(entrant -> spread.addAll(curves(entrant, Step.SPREAD, line -> imagesAt(entrant, line))));
        String health = Charts.curves("spread of the embeddings by images (1 is healthy, 0 is collapse)", spread, mostImages);
        if (charts.isEmpty()) {
            return;
        }
        page.append(Html.section("Training", "Smoothed; a curve a seed. The axes of images and of seconds are the same for all. Losses of "
                + "different methods are different quantities: only their course can be compared."));
        legend();
        page.append("<div class='charts'>").append(charts).append(health).append("</div></section>");
    }

    private void legend() {
        page.append("<p class='legend line'>");
        data.entrants().forEach(entrant -> page.append("<span>").append(name(entrant.name(), colour(entrant))).append("</span>"));
        page.append("</p>");
    }

    private interface Place {
        double of(Entrant entrant, Map<String, Double> line);
    }

    private double imagesAt(Entrant entrant, Map<String, Double> line) {
        return line.get("step") * entrant.update();
    }

    private double most(Place place) {
        double most = 0;
        for (Entrant entrant : data.entrants()) {
            for (Run run : entrant.runs()) {
                most = run.metrics().isEmpty() ? most : Math.max(most, place.of(entrant, run.metrics().getLast()));
            }
        }
        return most;
    }

    private List<Curve> curves(Entrant entrant, String metric, ToDoubleFunction<Map<String, Double>> x) {
        return entrant.runs().stream()
                .map(run -> new Curve(colour(entrant), run.metrics().stream()
                        .filter(line -> Double.isFinite(line.getOrDefault(metric, Double.NaN)))
                        .map(line -> new double[] {x.applyAsDouble(line), line.get(metric)})
                        .toList()))
                .toList();
    }

    private void maps() {
        List<Entrant> shown = data.entrants().stream()
                .filter(entrant -> entrant.gallery().map(gallery -> !gallery.map().isEmpty()).orElse(false))
                .toList();
        if (shown.isEmpty()) {
            return;
        }
        page.append(Html.section("Maps of the embeddings", "Test images, or training images if there are none, by the first two principal "
                + "components of each encoder's features. Click a class to hide it everywhere."));
        Gallery first = shown.getFirst().gallery().orElseThrow();
        int groups = Charts.groups(first.map());
        page.append("<div class='legend line'>");
        for (int g = 0; g < groups; g++) {
            page.append("<button data-group='class").append(g).append("'><i style='background:").append(Charts.colour(g, groups))
                    .append("'></i>").append(Html.escape(Charts.className(first.classNames(), g))).append("</button>");
        }
        page.append("</div><div class='maps'>");
        for (Entrant entrant : shown) {
            page.append("<figure><figcaption>").append(name(entrant.name(), colour(entrant))).append("</figcaption>")
                    .append(Charts.scatter(entrant.gallery().orElseThrow().map(), 440, 360)).append("</figure>");
        }
        page.append("</div></section>");
    }

    // the queries by their image, since pipelines on other data have others
    private void neighbours() {
        Map<String, Row> queries = new LinkedHashMap<>();
        Map<String, Map<Entrant, Row>> answers = new LinkedHashMap<>();
        for (Entrant entrant : data.entrants()) {
            for (Row row : entrant.gallery().map(Gallery::neighbours).orElse(List.of())) {
                String key = Html.image(row.image(), row.label(), "");
                queries.putIfAbsent(key, row);
                answers.computeIfAbsent(key, k -> new LinkedHashMap<>()).put(entrant, row);
            }
        }
        if (queries.isEmpty()) {
            return;
        }
        boolean classes = data.entrants().stream().anyMatch(e -> e.gallery().map(g -> !g.classNames().isEmpty()).orElse(false));
        page.append(Html.section("Nearest neighbours", "The same images asked of every encoder, and the training images whose features are "
                + "nearest in cosine, nearest first." + (classes ? " Green: of the same class; red: of another." : "")
                + (data.seeds() > 1 ? " Of the first seed." : "")));
        legend();
        page.append("<div class='columns'>");
        answers.forEach((key, rows) -> {
            page.append("<div class='query'><div class='asked'>").append(key).append("<span>")
                    .append(Html.escape(queries.get(key).label())).append("</span></div><div>");
            rows.forEach((entrant, row) -> {
                page.append("<div class='answer'><i class='swatch' style='background:").append(colour(entrant)).append("' title='")
                        .append(Html.escape(entrant.name())).append("'></i>");
                for (Picture picture : row.others().subList(0, Math.min(SHOWN_NEIGHBOURS, row.others().size()))) {
                    page.append(Html.image(picture.png(), picture.title(), Report.style(picture.mark())));
                }
                page.append("</div>");
            });
            page.append("</div></div>");
        });
        page.append("</div></section>");
    }

    private void fairPlay() {
        page.append(Html.section("Fair play", "What was the same for all, and what was not. Runs go round by seed, one after the other on the "
                + "same machine; other work on it makes seconds less comparable, not images."));
        page.append("<div class='facts'>");
        fact("budget of a run", data.budget().replaceFirst("(?<=[0-9])(?=images)", " "));
        fact("runs", data.entrants().size() + " x " + data.seeds());
        Machine.facts().forEach(this::fact);
        shared("device", "device");
        shared("precision", "precision");
        shared("threads", "threads");
        shared("parameters", "parameters");
        shared("training images", "images");
        shared("seeds", "seed");
        page.append("</div><pre class='wrapped'>").append(Html.escape(data.command())).append("</pre>");
        page.append("<details><summary>each run alone</summary><pre>");
        data.entrants().forEach(entrant -> entrant.runs().forEach(run -> page.append(Html.escape(run.command())).append("\n")));
        page.append("</pre></details>");
        data.entrants().forEach(entrant -> page.append("<details><summary>").append(Html.escape(entrant.name()))
                .append(", its settings</summary><pre>").append(Html.escape(entrant.pipeline().toYaml())).append("</pre></details>"));
        page.append("</section>");
    }

    private void fact(String key, String value) {
        page.append("<div><span>").append(Html.escape(key)).append("</span><b>").append(Html.escape(value)).append("</b></div>");
    }

    // one value if all runs have it, else one a pipeline
    private void shared(String title, String key) {
        List<String> values = data.entrants().stream()
                .map(entrant -> String.join(" ", entrant.runs().stream()
                        .flatMap(run -> run.summary().stream())
                        .map(summary -> String.valueOf(summary.values().get(key)))
                        .distinct()
                        .toList()))
                .filter(text -> !text.isEmpty())
                .toList();
        if (!values.isEmpty()) {
            fact(title, values.stream().distinct().count() == 1 ? values.getFirst() : String.join(" | ", values));
        }
    }
}
