// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Batch;
import dev.gatun.data.Loader;
import dev.gatun.data.Samples;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.CapturedStep;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.layer.Pass;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * One update of an experiment, as often as asked for: batch, losses, gradients, optimizer. On a device that records, the second update is
 * recorded and every one after it launched as a whole, as long as the method's decisions and the batch's shapes stay as they were; else it
 * is recorded anew. A method whose step does not allow that is computed operation by operation, with the same results.
 */
final class TrainingStep implements AutoCloseable {
    private static final int PASS_STREAM = 1 << 17;
    private static final int METHOD_STREAM = 1 << 18;
    /** Values that a step may measure: the loss, the optimizers' norms, what the method logs. */
    private static final int MEASURED = 64;

    /**
     * What an update measured.
     *
     * @param loss mean of the parts' losses
     * @param norms of the gradients that each optimizer takes
     * @param updated whether loss and gradients were finite, and the parameters changed
     * @param logged what the method logged, in order
     */
    record Result(double loss, List<Double> norms, boolean updated, Map<String, Double> logged) {}

    /** Hears when a recorded update is submitted to the device. */
    interface LaunchListener {
        /** When the update's values have been sent: what follows is the device's work and not the host's. */
        void launching();

        /** When all of it is. */
        void launched();
    }

    private final Experiment experiment;
    private final Loader loader;
    private final Consumer<String> messages;
    private @Nullable LaunchListener launchListener;
    private final Device device;
    private final int parts;
    private final Tensor measured;
    private final Map<String, Double> constants = new LinkedHashMap<>();
    private final Map<String, Integer> places = new LinkedHashMap<>();
    private final List<Step> steps = new ArrayList<>();
    private int norms;
    private boolean hostUpdated = true;

    private boolean records;
    private @Nullable String refusal;
    private @Nullable Feed feed;
    private @Nullable CapturedStep captured;
    private int rehearsals;
    private long sent = -1;
    private long launches;

    /** @param messages hears, once, why a step is not recorded where that was to be expected */
    TrainingStep(Experiment experiment, Loader loader, Consumer<String> messages) {
        this.experiment = experiment;
        this.loader = loader;
        this.messages = messages;
        device = experiment.device();
        parts = experiment.pipeline().batch().accumulate();
        measured = device.scope().zeros(MEASURED);
        records = device.records() && experiment.pipeline().device().capture();
    }

    /** @param listener hears of every launch from now on */
    void listen(LaunchListener listener) {
        launchListener = listener;
    }

    /** How many updates were launched as a whole. */
    long launches() {
        return launches;
    }

    /** Why updates are not recorded; null if they are, or nobody asked for it. */
    @Nullable String refusal() {
        return refusal;
    }

    /** One update. */
    Result run(long index) {
        if (!records) {
            List<Samples> samples = read(index);
            compute(index, samples, null);
        } else {
            recordedOrNot(index);
        }
        return result();
    }

    // while the device computes the host reads the next update's samples and sends them; of the next epoch nobody knows the order yet
    private void sendAhead(long index) {
        if (index % experiment.stepsPerEpoch() == 0 || index >= experiment.steps()) {
            return;
        }
        List<Samples> samples = read(index);
        if (feed != null && feed.fits(samples)) {
            feed.send(samples);
            sent = index;
        }
    }

    private List<Samples> read(long index) {
        List<Samples> samples = new ArrayList<>();
        for (int part = 0; part < parts; part++) {
            samples.add(loader.samples(index * parts + part));
        }
        return samples;
    }

    private void recordedOrNot(long index) {
        Feed in = feed(index);
        in.take();
        steps.forEach(step -> step.moveTo(index));
        if (captured != null && !captured.holds(index)) {
            forget();
        }
        if (captured == null) {
            captured = new CapturedStep(device);
        }
        CapturedStep step = captured;
        Runnable work = () -> compute(index, in.samples(), in);
        if (rehearsals == 0 || step.leftBehind() > 0) {
            rehearse(step, index, work);
            return;
        }
        if (!step.isRecorded()) {
            try {
                step.record(index, work);
            } catch (TensorException e) {
                if (rehearsals == 1) {
                    // what the first update alone does, such as making what stays, has left it another memory than the second needs
                    rehearse(step, index, work);
                } else {
                    refuse(e.getMessage());
                    compute(index, in.samples(), in);
                }
                return;
            }
        }
        step.launch(index, () -> {
            if (launchListener != null) {
                launchListener.launching();
            }
        });
        launches++;
        if (launchListener != null) {
            launchListener.launched();
        }
        sendAhead(index + 1);
    }

    private void rehearse(CapturedStep step, long index, Runnable work) {
        step.rehearse(index, work);
        rehearsals++;
        boolean leaves = rehearsals > 1 && step.leftBehind() > 0;
        step.refusal().or(() -> leaves ? Optional.of(CapturedStep.leaves(step.leftBehind())) : Optional.empty()).ifPresent(this::refuse);
    }

    private Feed feed(long index) {
        if (feed != null && sent == index) {
            return feed;
        }
        List<Samples> samples = read(index);
        if (feed == null || !feed.fits(samples)) {
            forget();
            if (feed != null) {
                feed.close();
            }
            feed = new Feed(device, samples);
        }
        feed.send(samples);
        return feed;
    }

    private void refuse(String reason) {
        refusal = reason;
        records = false;
        messages.accept("the step is not recorded and launched as a whole: " + reason);
        forget();
    }

    private void forget() {
        if (captured != null) {
            device.stream().synchronize();
            captured.close();
            captured = null;
        }
        rehearsals = 0;
    }

    private void compute(long index, List<Samples> samples, @Nullable Feed in) {
        constants.clear();
        places.clear();
        steps.clear();
        experiment.parameters().zeroGradients();
        Tensor total = measured.slice(0, 0, 1);
        total.zero();
        for (int part = 0; part < parts; part++) {
            try (Scope scope = device.scope().open()) {
                part(scope, index, part, samples.get(part), in == null ? samples.get(part).place(scope) : in.tensors(part), total);
            }
        }
    }

    private void part(Scope scope, long index, int part, Samples samples, List<Tensor> tensors, Tensor total) {
        Method method = experiment.method();
        Step step = step(Tape.on(scope), index, part);
        if (part == 0) {
            method.beforeStep(step);
        }
        Batch batch = batch(scope, samples, tensors, index, part);
        step.pass().withSamples(samples.ids());
        Tensor loss = method.loss(batch, step);
        requireLoss(loss);
        total.addInPlace(loss.detach().reshape(1), 1f / parts);
        step.tape().lastBackward(parts == 1 ? loss : loss.mul(1f / parts));
        if (part < parts - 1) {
            return;
        }
        method.afterBackward(step);
        List<Tensor> found = experiment.optimizers().guard(total);
        norms = found.size();
        for (int i = 0; i < norms; i++) {
            measured.slice(0, 1 + i, 2 + i).copyFrom(found.get(i));
        }
        hostUpdated = experiment.optimizers().guarded() || finiteOnHost(total);
        if (hostUpdated) {
            experiment.optimizers().step(step, experiment.schedule());
        }
        method.afterUpdate(step);
    }

    private boolean finiteOnHost(Tensor loss) {
        return loss.finite() && experiment.parameters().notFinite().isEmpty();
    }

    /** A step as the method sees it, whose metrics are measured on the device. */
    private Step step(Tape tape, long index, int part) {
        Step step = step(experiment, tape, index, part, constants, this::measure);
        steps.add(step);
        return step;
    }

    static Step step(
            Experiment experiment, Tape tape, long index, int part, Map<String, Double> metrics,
            BiConsumer<String, Tensor> deviceMetrics) {
        RandomKey key = new RandomKey(experiment.pipeline().seed(), index, PASS_STREAM + part);
        return new Step(
                index, experiment.steps(), experiment.stepsPerEpoch(), experiment.schedule().at(index),
                Pass.training(tape, key).withPrecision(experiment.pipeline().computesIn()), key.stream(METHOD_STREAM + part), metrics, deviceMetrics);
    }

    // behind the loss and the norms of at most two optimizers a parameter store
    private void measure(String metric, Tensor value) {
        int place = places.computeIfAbsent(metric, m -> MEASURED - 1 - places.size());
        if (place <= norms) {
            throw new LearningException("a step logs more than " + (MEASURED - 1 - norms) + " values of the device");
        }
        constants.put(metric, Double.NaN);
        measured.slice(0, place, place + 1).copyFrom(value.detach().reshape(1));
    }

    // labels are for those who ask: the others' scores must not owe anything to them
    private Batch batch(Scope scope, Samples samples, List<Tensor> tensors, long index, int part) {
        Batch[] made = new Batch[1];
        CapturedStep.keySteps(device, step -> step * parts + part,
                () -> made[0] = loader.batch(scope, samples, tensors, index * parts + part));
        return experiment.method().usesLabels() ? made[0] : new Batch(samples.ids(), made[0].views(), new int[0]);
    }

    private void requireLoss(@Nullable Tensor loss) {
        String wrong = loss == null ? "is null"
                : loss.elements() != 1 ? "is " + loss.describe() + ", not a single value; end with sum() or mean()"
                : loss.tracked() ? ""
                : "has no gradient: nothing in it comes from parameters through step.pass(), or all of it is detached";
        if (!wrong.isEmpty()) {
            throw new LearningException("the loss of " + experiment.pipeline().method().name() + " " + wrong);
        }
    }

    // the one place where the host waits for the device
    private Result result() {
        float[] values = measured.toArray();
        List<Double> found = new ArrayList<>();
        for (int i = 1; i <= norms; i++) {
            found.add((double) values[i]);
        }
        Map<String, Double> logged = new LinkedHashMap<>(constants);
        places.forEach((metric, place) -> logged.put(metric, (double) values[place]));
        boolean finite = Float.isFinite(values[0]) && found.stream().allMatch(Double::isFinite);
        return new Result(values[0], found, finite && hostUpdated, logged);
    }

    @Override
    public void close() {
        forget();
        if (feed != null) {
            feed.close();
            feed = null;
        }
    }
}
