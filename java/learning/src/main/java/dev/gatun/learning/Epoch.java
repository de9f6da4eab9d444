// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.learning.evaluation.Nmi;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Layer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * An epoch that starts, and what a method can do before its first step: look at all training samples, write its state, log.
 */
public final class Epoch {
    /** Metric: agreement of an epoch's clusters with those of the epoch before; see {@link #clustered}. */
    public static final String NMI_PREVIOUS = "nmi_previous";

    /** Metric: agreement of an epoch's clusters with the labels, where the data have them; the method never sees those. */
    public static final String NMI_LABELS = "nmi_labels";

    /** Metric: clusters that hold a sample. */
    public static final String CLUSTERS_USED = "clusters_used";

    /** All training samples through a network. */
    interface Samples {
        int size();

        /** One label a sample, -1 = none; empty if the data have none. */
        int[] labels();

        /** (N, D) in the scope; of view {@code view} in training behaviour, or of plain images for -1. */
        Tensor features(Scope scope, Layer network, int view, RandomKey key);
    }

    private final int index;
    private final int total;
    private final Scope scope;
    private final RandomKey key;
    private final Samples samples;
    private final Map<String, Double> metrics = new LinkedHashMap<>();
    private int draws;

    Epoch(int index, int total, Scope scope, RandomKey key, Samples samples) {
        this.index = index;
        this.total = total;
        this.scope = scope;
        this.key = key;
        this.samples = samples;
    }

    /** The epoch, counted from 0. */
    public int index() {
        return index;
    }

    /** Epochs of the run. */
    public int total() {
        return total;
    }

    /** Where results live until the hook returns. */
    public Scope scope() {
        return scope;
    }

    /** Key of the epoch's random decisions, one for each purpose: a function of the seed, the epoch and the calls before. */
    public RandomKey nextKey() {
        return key.child(draws++);
    }

    /** The number of training samples, N. A batch's ids are numbers below it. */
    public int samples() {
        return samples.size();
    }

    /**
     * Sends the plain image of every training sample through a network as it is in inference.
     *
     * @param network from (B, H, W, C) to (B, D)
     * @return (N, D), row i of the sample with id i
     */
    public Tensor features(Layer network) {
        return samples.features(scope, network, -1, key);
    }

    /**
     * Sends one random view of every training sample through a network as it is in training (batch statistics), without
     * gradients.
     *
     * @param network from (B, H, W, C) to (B, D)
     * @param view which of the batch's views
     * @return (N, D), row i of the sample with id i
     */
    public Tensor viewFeatures(Layer network, int view) {
        return samples.features(scope, network, view, nextKey());
    }

    /**
     * Logs a value of this epoch; it is written to {@code metrics.jsonl} with the epoch's first step.
     *
     * @param metric its name
     * @param value its value
     */
    public void log(String metric, double value) {
        metrics.put(metric, value);
    }

    /**
     * Logs how the training samples were clustered for this epoch: the normalised mutual information with the clusters of the
     * epoch before and with the labels, if there are any, and the number of clusters in use.
     *
     * @param clusters one cluster a sample, -1 = none
     * @param previous likewise of the epoch before; empty at first
     */
    public void clustered(int[] clusters, int[] previous) {
        log(CLUSTERS_USED, IntStream.of(clusters).filter(c -> c >= 0).distinct().count());
        agreement(NMI_PREVIOUS, clusters, previous);
        agreement(NMI_LABELS, clusters, samples.labels());
    }

    private void agreement(String metric, int[] clusters, int[] other) {
        int[] both = IntStream.range(0, Math.min(clusters.length, other.length))
                .filter(i -> clusters[i] >= 0 && other[i] >= 0)
                .toArray();
        if (both.length > 0) {
            log(metric, Nmi.of(
                    IntStream.of(both).map(i -> clusters[i]).toArray(), IntStream.of(both).map(i -> other[i]).toArray()));
        }
    }

    Map<String, Double> metrics() {
        return metrics;
    }
}
