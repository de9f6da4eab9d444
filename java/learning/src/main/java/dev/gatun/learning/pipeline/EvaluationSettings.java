// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import java.util.List;

/**
 * The {@code evaluation} section: which features are scored, and how.
 *
 * @param features of {@code pixels}, {@code random} (the untrained encoder of the same seed) and {@code trained}
 * @param neighbours k of the k-nearest-neighbour vote
 * @param temperature a neighbour's vote weighs exp(cosine / temperature)
 * @param probeEpochs epochs of a linear probe on encoder features
 * @param pixelEpochs epochs of a linear probe on pixels
 * @param probeLr learning rate of a probe (AdamW, cosine)
 * @param probeBatch batch of a probe
 * @param shots labels a class of the few-shot probe
 * @param batch images the encoder embeds at a time
 * @param images how many images of the training part, and of the test part, are used at most, drawn at random; 0: all
 */
public record EvaluationSettings(
        List<String> features,
        int neighbours,
        double temperature,
        int probeEpochs,
        int pixelEpochs,
        double probeLr,
        int probeBatch,
        int shots,
        int batch,
        int images) {
    /** The protocol's settings. */
    public EvaluationSettings() {
        this(List.of("pixels", "random", "trained"), 20, .07, 12, 30, 2e-3, 256, 10, 500, 0);
    }

    /** Checks the values. */
    public EvaluationSettings {
        for (String feature : features) {
            if (!List.of("pixels", "random", "trained").contains(feature)) {
                throw new IllegalArgumentException(
                        "features: no features " + feature + "; known features: pixels, random, trained");
            }
        }
        positive("neighbours", neighbours);
        positive("temperature", temperature);
        positive("probe_epochs", probeEpochs);
        positive("pixel_epochs", pixelEpochs);
        positive("probe_lr", probeLr);
        positive("probe_batch", probeBatch);
        positive("shots", shots);
        positive("batch", batch);
        if (images < 0) {
            throw new IllegalArgumentException("images: expected a positive number, or 0 for all, got " + images);
        }
    }

    private static void positive(String key, double value) {
        if (!(value > 0)) {
            throw new IllegalArgumentException(key + ": expected a positive number, got " + value);
        }
    }
}
