// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.report.ReportData.Point;
import dev.gatun.learning.report.ReportData.Row;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToDoubleFunction;

/**
 * What the report of a comparison shows.
 *
 * @param budget as it was asked for
 * @param seconds the budget's, 0 if images are counted
 * @param images the budget's, 0 if seconds are counted
 * @param seeds runs of each pipeline
 * @param command the command line
 * @param entrants the pipelines with their runs
 */
public record ComparisonData(String budget, double seconds, long images, int seeds, String command, List<Entrant> entrants) {
    /**
     * A pipeline with its runs.
     *
     * @param name the folder's
     * @param pipeline its settings
     * @param runs one a seed
     * @param gallery of the first run that did not fail
     */
    public record Entrant(String name, Pipeline pipeline, List<Run> runs, Optional<Gallery> gallery) {
        /** A value of the runs that did not fail; runs without it are left out. */
        public Spread spread(ToDoubleFunction<Run> value) {
            return Spread.of(runs.stream()
                    .filter(run -> run.summary().isPresent())
                    .mapToDouble(value)
                    .filter(Double::isFinite)
                    .toArray());
        }

        /** A number of the summaries of the runs that did not fail. */
        public Spread spread(String... path) {
            return spread(run -> run.summary().orElseThrow().number(path));
        }

        /** Views of a sample. */
        public int views() {
            return gallery.map(Gallery::views).orElse(0);
        }

        /** Samples an update takes. */
        public long update() {
            return (long) pipeline.batch().batch() * pipeline.batch().accumulate();
        }

        /** How many runs failed. */
        public long failures() {
            return runs.stream().filter(run -> run.summary().isEmpty()).count();
        }
    }

    /**
     * One run.
     *
     * @param name its folder's
     * @param seed its seed
     * @param failure why it failed; empty if it did not
     * @param summary empty if it failed
     * @param metrics the lines of its metrics
     * @param command what makes it alone
     */
    public record Run(
            String name, long seed, String failure, Optional<Summary> summary, List<Map<String, Double>> metrics, String command) {}

    /**
     * What a trained encoder makes of the same images.
     *
     * @param map embeddings on their two principal components
     * @param classNames one a class
     * @param neighbours queries with their nearest images
     * @param views how many views a sample has in training
     */
    public record Gallery(List<Point> map, List<String> classNames, List<Row> neighbours, int views) {}

    /**
     * The mean of some values, with the lowest and the highest.
     *
     * @param count how many; 0: the others are NaN
     */
    public record Spread(int count, double mean, double low, double high, double[] values) {
        static Spread of(double... values) {
            double low = Double.POSITIVE_INFINITY;
            double high = Double.NEGATIVE_INFINITY;
            double sum = 0;
            for (double value : values) {
                low = Math.min(low, value);
                high = Math.max(high, value);
                sum += value;
            }
            return values.length == 0
                    ? new Spread(0, Double.NaN, Double.NaN, Double.NaN, values)
                    : new Spread(values.length, sum / values.length, low, high, values);
        }
    }

    /** How many runs failed. */
    public long failures() {
        return entrants.stream().mapToLong(Entrant::failures).sum();
    }
}
