// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import dev.gatun.learning.evaluation.Evaluation.Scores;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a report shows. Images are PNG files.
 *
 * @param title the run in a few words
 * @param paper where the method is from
 * @param summary the run's summary
 * @param config the resolved pipeline file
 * @param metrics the lines of the run's metrics
 * @param scores by features
 * @param classification what the method itself predicts of the test images; empty for a method that predicts nothing
 * @param protocol how the scores were made, in a sentence or two
 * @param views samples with the views made from them
 * @param map embeddings on their two principal components; empty without data to embed
 * @param classNames one a class; empty without labels
 * @param neighbours queries with their nearest images
 * @param prototypes prototypes with the images nearest to them; empty for a method without prototypes
 */
public record ReportData(
        String title,
        String paper,
        Map<String, Object> summary,
        String config,
        List<Map<String, Double>> metrics,
        Map<String, Scores> scores,
        Optional<Predictions> classification,
        String protocol,
        List<Row> views,
        List<Point> map,
        List<String> classNames,
        List<Row> neighbours,
        List<Row> prototypes) {
    /**
     * One image with others that belong to it.
     *
     * @param label a few words
     * @param image the image; empty if the row has none of its own
     * @param others the others, in order
     */
    public record Row(String label, byte[] image, List<Picture> others) {}

    /**
     * An image with a mark.
     *
     * @param png the image
     * @param title shown when pointed at
     * @param mark how it relates to the row's image
     */
    public record Picture(byte[] png, String title, Mark mark) {}

    /**
     * A classifier's predictions.
     *
     * @param accuracy top-1, in percent
     * @param confusion images by [label][prediction]
     * @param mistakes the surest wrong predictions; a title says both classes
     */
    public record Predictions(double accuracy, int[][] confusion, List<Picture> mistakes) {}

    /** How an image relates to the one it stands beside. */
    public enum Mark {
        /** No statement. */
        NONE,
        /** Of the same class. */
        SAME,
        /** Of another class. */
        OTHER
    }

    /**
     * A point of the map.
     *
     * @param x first component
     * @param y second component
     * @param label its class; -1 = none
     */
    public record Point(double x, double y, int label) {}
}
