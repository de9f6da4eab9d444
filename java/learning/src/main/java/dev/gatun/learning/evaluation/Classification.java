// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.data.Dataset;
import dev.gatun.learning.Classifier;
import dev.gatun.learning.Experiment;
import dev.gatun.learning.ProgressListener;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.layer.Pass;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * What a classifier's own head says of the test images, in an inference pass on plain images.
 *
 * @param accuracy top-1, in percent
 * @param loss the mean of −log softmax of the label's logit, whatever loss the training used
 * @param confusion images by [label][prediction]
 * @param mistakes the wrong predictions, the surest first
 */
public record Classification(double accuracy, double loss, int[][] confusion, List<Mistake> mistakes) {
    private static final int MOST_MISTAKES = 24;

    /**
     * A wrong prediction.
     *
     * @param index the image's number in what is scored of the test part
     * @param label its class
     * @param prediction the class it was taken for
     * @param probability of that class, by softmax
     */
    public record Mistake(int index, int label, int prediction, double probability) {}

    /**
     * Asks an experiment's method for the classes of the test images.
     *
     * @param experiment a trained (or restored) experiment
     * @param listener hears how many images are done, and the result
     * @return empty if the method is no {@link Classifier} or no test image has a label
     */
    public static Optional<Classification> of(Experiment experiment, ProgressListener listener) {
        Dataset test = experiment.data().test().filter(Dataset::labelled).orElse(null);
        if (test == null || !(experiment.method() instanceof Classifier classifier)) {
            return Optional.empty();
        }
        Dataset scored = Evaluation.scored(experiment, test);
        listener.phase("classifying the test images", scored.size());
        try (Scope scope = experiment.host().scope().open()) {
            Evaluation.Embedder embedder = (inner, images) -> {
                Pass pass = Pass.inference(inner);
                return classifier.logits(pass, experiment.encoder().forward(pass, images));
            };
            Optional<Classification> result = of(Evaluation.features(scope, experiment, embedder, scored, 0, listener));
            result.ifPresent(found -> listener.message(String.format(
                    Locale.ROOT, "classifier: accuracy %.2f  cross-entropy %.4f", found.accuracy(), found.loss())));
            return result;
        }
    }

    /**
     * Judges logits.
     *
     * @param logits (N, classes), and the labels
     * @return empty without labels
     */
    static Optional<Classification> of(Features logits) {
        int width = logits.width();
        int classes = Math.max(width, logits.classes());
        int[][] confusion = new int[classes][classes];
        List<Mistake> mistakes = new ArrayList<>();
        float[] row = new float[width];
        int scored = 0;
        double loss = 0;
        for (int i = 0; i < logits.count(); i++) {
            int label = logits.labels()[i];
            if (label < 0) {
                continue;
            }
            Rows.read(logits.values().segment(), i, row, width);
            int best = 0;
            for (int c = 1; c < width; c++) {
                best = row[c] > row[best] ? c : best;
            }
            double sum = 0;
            for (float logit : row) {
                sum += Math.exp(logit - row[best]);
            }
            scored++;
            confusion[label][best]++;
            // a class that the training data do not have has no logit: the loss is infinite, as the probability is 0
            loss += label < width ? Math.log(sum) - (row[label] - row[best]) : Double.POSITIVE_INFINITY;
            if (best != label) {
                mistakes.add(new Mistake(i, label, best, 1 / sum));
            }
        }
        if (scored == 0) {
            return Optional.empty();
        }
        double right = scored - mistakes.size();
        mistakes.sort(Comparator.comparingDouble(Mistake::probability).reversed());
        return Optional.of(new Classification(
                100 * right / scored, loss / scored, confusion,
                List.copyOf(mistakes.subList(0, Math.min(MOST_MISTAKES, mistakes.size())))));
    }
}
