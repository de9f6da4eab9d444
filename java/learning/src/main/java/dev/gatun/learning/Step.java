// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.layer.Pass;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a method knows of the current update: where it is in the run, the pass to compute with, and a log for metrics. */
public final class Step {
    /** Metric: the standard deviation of an embedding dimension times √D, averaged; about 1 is healthy, 0 is collapse. */
    public static final String SPREAD = "spread";

    /** Metric: prototypes that were some sample's strongest code within the last epoch's number of steps. */
    public static final String PROTOTYPES_USED = "prototypes_used";

    /** Metric: all prototypes. */
    public static final String PROTOTYPES = "prototypes";

    /** Metric: the loss of a method that predicts nothing, such as ln K. */
    public static final String UNINFORMED_LOSS = "uninformed_loss";

    private final long index;
    private final long total;
    private final long stepsPerEpoch;
    private final float learningRate;
    private final Pass pass;
    private final RandomKey key;
    private final Map<String, Double> metrics;

    /**
     * Makes a step; trainers and tests do.
     *
     * @param index the global step, counted in updates from 0
     * @param total updates of the run
     * @param stepsPerEpoch updates an epoch
     * @param learningRate of this update
     * @param pass a training pass on the step's tape
     * @param key key of the step's random decisions
     * @param metrics where logged values go
     */
    public Step(
            long index, long total, long stepsPerEpoch, float learningRate, Pass pass, RandomKey key, Map<String, Double> metrics) {
        this.index = index;
        this.total = total;
        this.stepsPerEpoch = stepsPerEpoch;
        this.learningRate = learningRate;
        this.pass = pass;
        this.key = key;
        this.metrics = metrics;
    }

    /** The global step, counted in updates from 0. */
    public long index() {
        return index;
    }

    /** Updates of the run. */
    public long total() {
        return total;
    }

    /** Updates an epoch. */
    public long stepsPerEpoch() {
        return stepsPerEpoch;
    }

    /** The current epoch, from 0. */
    public int epoch() {
        return (int) (index / stepsPerEpoch);
    }

    /** The learning rate of this update, for parameters that the method updates itself. */
    public float learningRate() {
        return learningRate;
    }

    /** The training pass that layers are called with; the same for all losses of a step's batch. */
    public Pass pass() {
        return pass;
    }

    /** The tape that records the step. */
    public Tape tape() {
        return pass.tape();
    }

    /** Where the step's tensors live; they are gone after the step. */
    public Scope scope() {
        return pass.scope();
    }

    /** Key of the method's own random decisions in this step. */
    public RandomKey key() {
        return key;
    }

    /**
     * Logs a value of this step; it is written to {@code metrics.jsonl}. The constants of this class are names that the
     * trainer knows: it warns when their values look wrong.
     *
     * @param metric its name
     * @param value its value; the last one counts
     */
    public void log(String metric, double value) {
        metrics.put(metric, value);
    }

    /** What was logged so far, in order. */
    public Map<String, Double> metrics() {
        return new LinkedHashMap<>(metrics);
    }
}
