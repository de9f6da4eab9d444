// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.data.Dataset;
import dev.gatun.data.Subset;
import dev.gatun.data.Views;
import dev.gatun.learning.Experiment;
import dev.gatun.learning.LearningException;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.pipeline.EvaluationSettings;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Scores frozen features on a test set: the vote of the nearest neighbours, a linear probe on all labels and one on few.
 * Raw pixels and the untrained encoder are scored alike, since only the difference says what was learned.
 */
public final class Evaluation {
    // a few-shot fit sees all its samples at every step, and takes this many
    private static final int FEW_SHOT_EPOCHS = 100;

    // which samples, and their order, are part of the protocol, not of the run: pixels score the same for every seed
    private static final long PROBE_SEED = 1;

    private Evaluation() {}

    /**
     * The scores of one kind of features, in percent; NaN where the data have no labels.
     *
     * @param knn k-nearest-neighbour vote
     * @param linear linear probe
     * @param shot10 linear probe on few labels a class
     */
    public record Scores(double knn, double linear, double shot10) {}

    /**
     * All that a run's end measures.
     *
     * @param scores by features; empty without labelled test images
     * @param classification what the method itself predicts, if it does
     */
    public record Results(Map<String, Scores> scores, Optional<Classification> classification) {}

    /**
     * Everything that can be measured of an experiment: the scores, if train and test parts have labels, and the
     * classifier's own predictions.
     *
     * @param experiment a trained (or restored) experiment
     * @param floors scores that need not be computed again; new ones are added
     * @param listener hears what is scored, and the scores
     */
    public static Results results(Experiment experiment, Floors floors, ProgressListener listener) {
        Optional<Classification> classification = Classification.of(experiment, listener);
        boolean scorable = experiment.data().train().labelled()
                && experiment.data().test().map(Dataset::labelled).orElse(false);
        return new Results(scorable ? run(experiment, floors, listener) : Map.of(), classification);
    }

    /**
     * What the evaluation looks at of a part of the data: all of it, or as many images as the pipeline says.
     *
     * @param experiment the experiment
     * @param part its training or test part
     */
    public static Dataset scored(Experiment experiment, Dataset part) {
        int images = experiment.pipeline().evaluation().images();
        return images == 0 || images >= part.size() ? part : Subset.random(part, images, PROBE_SEED);
    }

    /**
     * How {@link #run} scores, in words with the experiment's numbers.
     *
     * @param experiment the experiment
     */
    public static String protocol(Experiment experiment) {
        EvaluationSettings s = experiment.pipeline().evaluation();
        int images = scored(experiment, experiment.data().train()).size();
        String part = images < experiment.data().train().size() ? "their" : "all training";
        return String.format(
                Locale.ROOT,
                "kNN: the vote of the %d nearest of %d training images in cosine, each weighing exp(cosine / %s). Linear: softmax "
                        + "regression on %s labels, every dimension standardised; AdamW, %d epochs (%d for pixels), learning "
                        + "rate %s falling to 0 as a cosine, batch %d. 10-shot: the same on the first %d training images of each class, "
                        + "%d epochs. Features are the encoder's output, before any projection head.",
                s.neighbours(), images, s.temperature(), part, s.probeEpochs(), s.pixelEpochs(), s.probeLr(),
                s.probeBatch(), s.shots(), FEW_SHOT_EPOCHS);
    }

    /**
     * Scores the features that the pipeline's {@code evaluation} section names.
     *
     * @param experiment a trained (or restored) experiment
     * @param floors scores that need not be computed again; new ones are added
     * @param listener hears which features are scored, and the scores
     * @return scores by features: {@code pixels}, {@code random}, {@code trained}
     * @throws LearningException if the data have no test part or no labels; one line
     */
    public static Map<String, Scores> run(Experiment experiment, Floors floors, ProgressListener listener) {
        Dataset train = experiment.data().train();
        Dataset test = experiment.data().test().orElseThrow(() -> new LearningException(
                "evaluation: data " + experiment.pipeline().data().name() + " have no test part"));
        if (!train.labelled() || !test.labelled()) {
            throw new LearningException("evaluation: data " + experiment.pipeline().data().name() + " have no labels");
        }
        Dataset bank = scored(experiment, train);
        Dataset queries = scored(experiment, test);
        Map<String, Scores> scores = new LinkedHashMap<>();
        for (String features : experiment.pipeline().evaluation().features()) {
            listener.phase("evaluating " + features, bank.size() + queries.size());
            Scores result = score(experiment, features, bank, queries, floors, listener);
            scores.put(features, result);
            listener.message(String.format(
                    Locale.ROOT, "%-8s kNN %.1f  linear %.1f  10-shot %.1f", features, result.knn(), result.linear(),
                    result.shot10()));
        }
        return scores;
    }

    private static Scores score(
            Experiment experiment, String kind, Dataset train, Dataset test, Floors floors, ProgressListener listener) {
        Device device = experiment.device();
        try (Scope scope = device.scope().open()) {
            Embedder embedder = switch (kind) {
                case "pixels" -> (inner, images) -> images.reshape(images.size(0), -1);
                case "random" -> untrained(experiment, scope);
                default -> trained(experiment);
            };
            return kind.equals("trained")
                    ? score(experiment, kind, embedder, train, test, listener)
                    : floors.get(Floors.key(experiment, embedder) + " " + kind,
                            () -> score(experiment, kind, embedder, train, test, listener));
        } finally {
            device.trim();
        }
    }

    private static Scores score(
            Experiment experiment, String kind, Embedder embedder, Dataset train, Dataset test, ProgressListener listener) {
        EvaluationSettings settings = experiment.pipeline().evaluation();
        try (Scope scope = experiment.host().scope().open()) {
            Features bank = features(scope, experiment, embedder, train, 0, listener);
            Features queries = features(scope, experiment, embedder, test, train.size(), listener);
            if (kind.equals("pixels")) {
                fromBlack(experiment.views(), bank, queries);
            }
            int epochs = kind.equals("pixels") ? settings.pixelEpochs() : settings.probeEpochs();
            return new Scores(
                    100 * Knn.accuracy(bank, queries, settings.neighbours(), settings.temperature()),
                    100 * LinearProbe.accuracy(
                            bank, queries, epochs, settings.probeLr(), settings.probeBatch(), PROBE_SEED),
                    100 * LinearProbe.fewShot(
                            bank, queries, settings.shots(), FEW_SHOT_EPOCHS, settings.probeLr(), settings.probeBatch(),
                            PROBE_SEED));
        }
    }

    // the cosine of raw pixels is between intensities: undo the normalisation's shift, after which the darkest value is 0
    private static void fromBlack(Views views, Features bank, Features queries) {
        int channels = (int) views.shape()[views.shape().length - 1];
        int width = bank.width();
        float[] darkest = new float[channels];
        Arrays.fill(darkest, Float.POSITIVE_INFINITY);
        float[] row = new float[width];
        for (int i = 0; i < bank.count(); i++) {
            Rows.read(bank.values().segment(), i, row, width);
            for (int j = 0; j < width; j++) {
                darkest[j % channels] = Math.min(darkest[j % channels], row[j]);
            }
        }
        for (Features features : List.of(bank, queries)) {
            for (int i = 0; i < features.count(); i++) {
                Rows.read(features.values().segment(), i, row, width);
                for (int j = 0; j < width; j++) {
                    row[j] -= darkest[j % channels];
                }
                Rows.write(row, features.values().segment(), i, width);
            }
            features.values().written();
        }
    }

    /** From normalised images (B, H, W, C) to features (B, D). */
    @FunctionalInterface
    public interface Embedder {
        /**
         * Embeds a batch.
         *
         * @param scope where results live
         * @param images (B, H, W, C), in that scope
         */
        Tensor embed(Scope scope, Tensor images);
    }

    /** The experiment's encoder with running statistics, before any projection head. */
    public static Embedder trained(Experiment experiment) {
        return (scope, images) -> experiment.encoder().forward(Pass.inference(scope), images);
    }

    /**
     * The encoder of the same seed as the training starts from.
     *
     * @param experiment whose pipeline and seed
     * @param scope where its parameters live
     */
    public static Embedder untrained(Experiment experiment, Scope scope) {
        Parameters parameters = Parameters.create();
        Encoder encoder = experiment.encoder(parameters);
        parameters.build(scope, experiment.pipeline().seed());
        return (inner, images) -> encoder.forward(Pass.inference(inner), images);
    }

    /**
     * Embeds a whole data set.
     *
     * @param scope where the features live, of a device whose memory the host reaches
     * @param experiment gives the views that make plain images, and the batch size
     * @param embedder what to embed with
     * @param data the data set
     * @param before units of work done before, for the listener
     * @param listener hears how many samples are done
     */
    public static Features features(
            Scope scope, Experiment experiment, Embedder embedder, Dataset data, long before, ProgressListener listener) {
        Views views = experiment.views();
        int batch = experiment.pipeline().evaluation().batch();
        Tensor all = null;
        for (int from = 0; from < data.size(); from += batch) {
            int[] indices = new int[Math.min(batch, data.size() - from)];
            for (int i = 0; i < indices.length; i++) {
                indices[i] = from + i;
            }
            try (Scope inner = experiment.device().scope().open()) {
                Tensor part = embedder.embed(inner, views.plain(inner, data, indices)).contiguous();
                if (all == null) {
                    all = scope.empty(data.size(), part.size(1));
                }
                long bytes = part.size(1) * Float.BYTES;
                part.copyTo(all.segment().asSlice(from * bytes, indices.length * bytes));
            }
            listener.advanced(before + from + indices.length);
        }
        if (all == null) {
            throw new LearningException("evaluation: a part of data " + experiment.pipeline().data().name() + " is empty");
        }
        int[] labels = new int[data.size()];
        for (int i = 0; i < labels.length; i++) {
            labels[i] = data.labelled() ? data.label(i) : -1;
        }
        return new Features(all, labels, data.classes());
    }
}
