// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * Softmax regression on frozen features, each dimension standardised with the training features' mean and deviation. AdamW
 * (β .9, .999, decay .01) with a cosine from {@code lr} to 0, from weights of zero, so that nothing is drawn but the order of
 * the samples.
 */
public final class LinearProbe {
    private static final double BETA1 = .9;
    private static final double BETA2 = .999;
    private static final double EPSILON = 1e-8;
    private static final double DECAY = .01;

    private final int width;
    private final int classes;
    private final float[] weights; // (classes, width + 1), the bias last: dimension `width` of a row is always 1
    private final double[] momentum;
    private final double[] variance;
    private long updates;

    private LinearProbe(int width, int classes) {
        this.width = width;
        this.classes = classes;
        int size = classes * (width + 1);
        weights = new float[size];
        momentum = new double[size];
        variance = new double[size];
    }

    /**
     * Fits a probe and scores it.
     *
     * @param train labelled features
     * @param test labelled features of the same width
     * @param epochs passes over the training features
     * @param lr base learning rate
     * @param batch rows a step
     * @param seed of the samples' order
     * @return the share of test samples classified rightly, in [0, 1]
     */
    public static double accuracy(Features train, Features test, int epochs, double lr, int batch, long seed) {
        int[] labelled = labelled(train);
        return labelled.length == 0 ? Double.NaN : fit(train, labelled, test, epochs, lr, batch, seed);
    }

    /**
     * As {@link #accuracy}, fitted on the first {@code shots} samples of every class only; the deviation that standardises is
     * that of all training features, which needs no labels.
     *
     * @param shots labels a class
     */
    public static double fewShot(
            Features train, Features test, int shots, int epochs, double lr, int batch, long seed) {
        int[] taken = new int[train.classes()];
        int[] chosen = Arrays.stream(labelled(train))
                .filter(i -> taken[train.labels()[i]]++ < shots)
                .toArray();
        return chosen.length == 0 ? Double.NaN : fit(train, chosen, test, epochs, lr, batch, seed);
    }

    private static int[] labelled(Features features) {
        return IntStream.range(0, features.count())
                .filter(i -> features.labels()[i] >= 0)
                .toArray();
    }

    private static double fit(
            Features train, int[] rows, Features test, int epochs, double lr, int batch, long seed) {
        try (Scope scope = train.values().device().scope().open()) {
            LinearProbe probe = new LinearProbe(train.width(), train.classes());
            Standardiser standardiser = new Standardiser(train.values());
            Tensor x = standardiser.apply(scope, train.values(), rows);
            int[] labels = Arrays.stream(rows).map(row -> train.labels()[row]).toArray();
            int[] order = IntStream.range(0, rows.length).toArray();
            SplittableRandom random = new SplittableRandom(seed);
            long total = (order.length + batch - 1) / batch * (long) epochs;
            for (int e = 0; e < epochs; e++) {
                shuffle(order, random);
                for (int from = 0; from < order.length; from += batch) {
                    double rate = lr * .5 * (1 + Math.cos(Math.PI * probe.updates / total));
                    probe.step(x, labels, Arrays.copyOfRange(order, from, Math.min(from + batch, order.length)), rate);
                }
            }
            int[] scored = labelled(test);
            return probe.score(standardiser.apply(scope, test.values(), scored), test, scored);
        }
    }

    private static void shuffle(int[] order, SplittableRandom random) {
        for (int i = order.length - 1; i > 0; i--) {
            int j = random.nextInt(i + 1);
            int swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
    }

    private void step(Tensor rows, int[] labels, int[] chosen, double rate) {
        try (Scope scope = rows.scope().open()) {
            Tensor x = scope.empty(chosen.length, width + 1);
            long bytes = (width + 1L) * Float.BYTES;
            for (int b = 0; b < chosen.length; b++) {
                MemorySegment.copy(rows.segment(), chosen[b] * bytes, x.segment(), b * bytes, bytes);
            }
            float[] logits = x.matmulTransposed(scope.of(weights, classes, width + 1)).toArray();
            for (int b = 0; b < chosen.length; b++) {
                softmaxGradient(logits, b * classes, labels[chosen[b]], chosen.length);
            }
            update(scope.of(logits, chosen.length, classes).transpose().matmul(x).toArray(), rate);
        }
    }

    // from the logits of one sample to the gradient of its share of the mean cross-entropy
    private void softmaxGradient(float[] logits, int at, int label, int count) {
        double max = Double.NEGATIVE_INFINITY;
        for (int c = 0; c < classes; c++) {
            max = Math.max(max, logits[at + c]);
        }
        double sum = 0;
        for (int c = 0; c < classes; c++) {
            double e = Math.exp(logits[at + c] - max);
            logits[at + c] = (float) e;
            sum += e;
        }
        for (int c = 0; c < classes; c++) {
            logits[at + c] = (float) ((logits[at + c] / sum - (c == label ? 1 : 0)) / count);
        }
    }

    private void update(float[] gradient, double rate) {
        updates++;
        double first = 1 - Math.pow(BETA1, updates);
        double second = 1 - Math.pow(BETA2, updates);
        for (int i = 0; i < weights.length; i++) {
            double g = gradient[i];
            momentum[i] = BETA1 * momentum[i] + (1 - BETA1) * g;
            variance[i] = BETA2 * variance[i] + (1 - BETA2) * g * g;
            double step = momentum[i] / first / (Math.sqrt(variance[i] / second) + EPSILON);
            weights[i] = (float) (weights[i] * (1 - rate * DECAY) - rate * step);
        }
    }

    private double score(Tensor rows, Features test, int[] scored) {
        if (scored.length == 0) {
            return Double.NaN;
        }
        try (Scope scope = rows.scope().open()) {
            float[] logits = scope.attach(rows).matmulTransposed(scope.of(weights, classes, width + 1)).toArray();
            int right = 0;
            for (int i = 0; i < scored.length; i++) {
                int best = 0;
                for (int c = 1; c < classes; c++) {
                    best = logits[i * classes + c] > logits[i * classes + best] ? c : best;
                }
                right += best == test.labels()[scored[i]] ? 1 : 0;
            }
            return (double) right / scored.length;
        }
    }

    /** Mean and deviation of every dimension. */
    private static final class Standardiser {
        private final int width;
        private final float[] mean;
        private final float[] scale;

        Standardiser(Tensor values) {
            width = (int) values.size(1);
            mean = new float[width];
            scale = new float[width];
            int count = (int) values.size(0);
            double[] sum = new double[width];
            double[] squares = new double[width];
            float[] row = new float[width];
            MemorySegment data = values.segment();
            // one pass, shifted by the first row: a dimension far from zero keeps its small deviation
            float[] shift = new float[width];
            Rows.read(data, 0, shift, width);
            for (int i = 0; i < count; i++) {
                Rows.read(data, i, row, width);
                for (int j = 0; j < width; j++) {
                    double v = row[j] - shift[j];
                    sum[j] += v;
                    squares[j] += v * v;
                }
            }
            for (int j = 0; j < width; j++) {
                double m = sum[j] / count;
                mean[j] = (float) (shift[j] + m);
                scale[j] = (float) (1 / (Math.sqrt(Math.max(0, squares[j] / count - m * m)) + 1e-6));
            }
        }

        /** Some rows, standardised, with a 1 for the bias after each. */
        Tensor apply(Scope scope, Tensor values, int[] rows) {
            Tensor applied = scope.empty(rows.length, width + 1);
            MemorySegment source = values.segment();
            MemorySegment target = applied.segment();
            Rows.parallel(values.device().threads(), rows.length, (from, to) -> {
                float[] row = new float[width + 1];
                for (int i = from; i < to; i++) {
                    MemorySegment.copy(
                            source, ValueLayout.JAVA_FLOAT, (long) rows[i] * width * Float.BYTES, row, 0, width);
                    for (int j = 0; j < width; j++) {
                        row[j] = (row[j] - mean[j]) * scale[j];
                    }
                    row[width] = 1;
                    Rows.write(row, target, i, width + 1);
                }
            });
            applied.written();
            return applied;
        }
    }
}
