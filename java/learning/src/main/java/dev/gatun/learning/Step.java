// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.optimizer.Schedule;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.LongPredicate;
import java.util.function.Supplier;

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

    private long index;
    private final long total;
    private final long stepsPerEpoch;
    private final float learningRate;
    private final Pass pass;
    private final RandomKey key;
    private final Map<String, Double> metrics;
    private final BiConsumer<String, Tensor> deviceMetrics;

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
        this(index, total, stepsPerEpoch, learningRate, pass, key, metrics,
                (metric, value) -> metrics.put(metric, (double) value.item()));
    }

    /** @param deviceMetrics takes logged values that lie on the device */
    Step(
            long index, long total, long stepsPerEpoch, float learningRate, Pass pass, RandomKey key, Map<String, Double> metrics,
            BiConsumer<String, Tensor> deviceMetrics) {
        this.index = index;
        this.total = total;
        this.stepsPerEpoch = stepsPerEpoch;
        this.learningRate = learningRate;
        this.pass = pass;
        this.key = key;
        this.metrics = metrics;
        this.deviceMetrics = deviceMetrics;
    }

    /** A recorded step is to be launched for another number. */
    void moveTo(long other) {
        index = other;
    }

    /**
     * The global step, counted in updates from 0. A step that reads it is not recorded and launched again, but computed each time anew;
     * {@link #scalar} and {@link #when} do without.
     */
    public long index() {
        device().hostRead("step.index(); use step.scalar(...) or step.when(...)");
        return index;
    }

    /**
     * A value that follows the number of the step, on the device.
     *
     * @param schedule from the global step to the value
     * @return f32 (1)
     */
    public Tensor scalar(Schedule schedule) {
        return scope().fromHost(DType.F32, target -> target.set(ValueLayout.JAVA_FLOAT, 0, schedule.at(index)), 1);
    }

    /**
     * Whether something holds at this step, to decide what the step does: a recorded step is recorded anew where the answer changes.
     *
     * @param condition on the global step
     */
    public boolean when(LongPredicate condition) {
        return decide(() -> condition.test(index));
    }

    /**
     * A value that the host knows without reading the device, to decide what the step does: a recorded step is recorded anew where it is
     * another.
     *
     * @param value from fields that {@link Method#restored} and {@link Method#beforeEpoch} set, or that writers of
     *     {@link Scope#fromHost} count along
     */
    public <T> T decide(Supplier<T> value) {
        return device().decide(value);
    }

    private Device device() {
        return scope().device();
    }

    /** Updates of the run. */
    public long total() {
        return total;
    }

    /** Updates an epoch. */
    public long stepsPerEpoch() {
        return stepsPerEpoch;
    }

    /** The current epoch, from 0; as {@link #index}. */
    public int epoch() {
        return (int) (index() / stepsPerEpoch);
    }

    /** The learning rate of this update, for parameters that the method updates itself; as {@link #index}. */
    public float learningRate() {
        device().hostRead("step.learningRate()");
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
     * trainer knows: it warns when their values look wrong. A recorded step logs the same number at every launch; what differs from step
     * to step is logged as a tensor.
     *
     * @param metric its name
     * @param value its value; the last one counts
     */
    public void log(String metric, double value) {
        metrics.put(metric, value);
    }

    /**
     * As {@link #log(String, double)} with a value that was computed on the device; the host sees it after the step.
     *
     * @param value f32, one element
     */
    public void log(String metric, Tensor value) {
        deviceMetrics.accept(metric, value);
    }

    /** What was logged so far, in order. */
    public Map<String, Double> metrics() {
        return new LinkedHashMap<>(metrics);
    }
}
