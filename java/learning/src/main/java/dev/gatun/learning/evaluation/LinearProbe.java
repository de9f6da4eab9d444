// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

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
        int[] chosen = java.util.Arrays.stream(labelled(train))
                .filter(i -> taken[train.labels()[i]]++ < shots)
                .toArray();
        return chosen.length == 0 ? Double.NaN : fit(train, chosen, test, epochs, lr, batch, seed);
    }

    private static int[] labelled(Features features) {
        return java.util.stream.IntStream.range(0, features.count())
                .filter(i -> features.labels()[i] >= 0)
                .toArray();
    }

    private static double fit(
            Features train, int[] rows, Features test, int epochs, double lr, int batch, long seed) {
        LinearProbe probe = new LinearProbe(train.width(), train.classes());
        Standardiser standardiser = new Standardiser(train.values());
        SplittableRandom random = new SplittableRandom(seed);
        int[] order = rows.clone();
        long perEpoch = (order.length + batch - 1) / batch;
        long total = perEpoch * epochs;
        for (int e = 0; e < epochs; e++) {
            for (int i = order.length - 1; i > 0; i--) {
                int j = random.nextInt(i + 1);
                int swap = order[i];
                order[i] = order[j];
                order[j] = swap;
            }
            for (int from = 0; from < order.length; from += batch) {
                double rate = lr * .5 * (1 + Math.cos(Math.PI * probe.updates / total));
                probe.step(train, standardiser, order, from, Math.min(from + batch, order.length), rate);
            }
        }
        return probe.score(test, standardiser, batch * 8);
    }

    private void step(Features train, Standardiser standardiser, int[] order, int from, int to, double rate) {
        int count = to - from;
        try (Scope scope = train.values().device().scope().open()) {
            Tensor x = scope.empty(count, width + 1);
            standardiser.gather(train.values(), order, from, count, x);
            float[] logits = x.matmulTransposed(scope.of(weights, classes, width + 1)).toArray();
            for (int b = 0; b < count; b++) {
                softmaxGradient(logits, b * classes, train.labels()[order[from + b]], count);
            }
            float[] gradient = scope.of(logits, count, classes).transpose().matmul(x).toArray();
            update(gradient, rate);
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

    private double score(Features test, Standardiser standardiser, int block) {
        int[] rows = labelled(test);
        int right = 0;
        for (int from = 0; from < rows.length; from += block) {
            int count = Math.min(block, rows.length - from);
            try (Scope scope = test.values().device().scope().open()) {
                Tensor x = scope.empty(count, width + 1);
                standardiser.gather(test.values(), rows, from, count, x);
                float[] logits = x.matmulTransposed(scope.of(weights, classes, width + 1)).toArray();
                for (int b = 0; b < count; b++) {
                    int best = 0;
                    for (int c = 1; c < classes; c++) {
                        best = logits[b * classes + c] > logits[b * classes + best] ? c : best;
                    }
                    right += best == test.labels()[rows[from + b]] ? 1 : 0;
                }
            }
        }
        return rows.length == 0 ? Double.NaN : (double) right / rows.length;
    }

    /** Mean and deviation of every dimension, and batches of rows standardised with them. */
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

        void gather(Tensor values, int[] rows, int from, int count, Tensor into) {
            MemorySegment source = values.segment();
            MemorySegment target = into.segment();
            float[] row = new float[width + 1];
            row[width] = 1;
            for (int b = 0; b < count; b++) {
                MemorySegment.copy(
                        source, ValueLayout.JAVA_FLOAT, (long) rows[from + b] * width * Float.BYTES, row, 0, width);
                for (int j = 0; j < width; j++) {
                    row[j] = (row[j] - mean[j]) * scale[j];
                }
                Rows.write(row, target, b, width + 1);
            }
            into.written();
        }
    }
}
