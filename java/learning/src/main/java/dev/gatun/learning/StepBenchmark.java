// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Loader;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.primitives.GatunEvent;
import dev.gatun.primitives.GatunStream;
import dev.gatun.tensor.Device;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.IntStream;

/**
 * Times whole training steps as a run takes them: batch up, views, loss, backward, update, and the host's look at the loss. The time of a
 * step is that between two events on the device's stream, one behind each step, so that what the host delays counts. What a run does
 * besides, metrics and checkpoints, is left out.
 */
public final class StepBenchmark {
    /** Steps before the timed ones, at least: the first is rehearsed and the second recorded. */
    public static final int LEAST_WARM_UP = 2;

    /**
     * What was timed.
     *
     * @param seconds from step to step, the median
     * @param busy seconds that a launch of the recorded step takes on the device, the median; empty if steps were not recorded
     * @param images samples of a step
     * @param peakBytes the most device memory that tensors took at once, from the making of the parameters on
     * @param heldBytes the most device memory that was held for them, what lies unused in allocators included
     */
    public record Times(double seconds, OptionalDouble busy, int images, long peakBytes, long heldBytes) {}

    private StepBenchmark() {}

    /**
     * Trains a pipeline for a few steps.
     *
     * @param pipeline what to train; its length does not matter. If its device records and is asked to, all timed steps are launched as
     *     recorded
     * @param warmUp steps before the timed ones, at least {@link #LEAST_WARM_UP}
     * @param steps timed steps, at least 1
     * @param listener hears what a run would warn of
     * @throws LearningException if the pipeline cannot be trained, or not recorded where that was asked for; one line
     * @throws dev.gatun.primitives.GatunException OUT_OF_MEMORY if the device has not enough for its batch
     */
    public static Times run(Pipeline pipeline, int warmUp, int steps, ProgressListener listener) {
        if (warmUp < LEAST_WARM_UP || steps < 1) {
            throw new IllegalArgumentException("steps to time are at least 1 and steps before them at least " + LEAST_WARM_UP + ", not " + steps
                    + " and " + warmUp);
        }
        try (Experiment experiment = Experiment.open(pipeline.with(pipeline.seed(), warmUp + steps))) {
            experiment.warnings().forEach(listener::warning);
            Device device = experiment.device();
            boolean recorded = device.records() && pipeline.device().capture();
            try (Marks ends = new Marks(device.stream(), steps + 1);
                    Marks starts = new Marks(device.stream(), recorded ? steps : 0);
                    Marks stops = new Marks(device.stream(), recorded ? steps : 0)) {
                train(experiment, warmUp, steps, listener, ends, starts, stops);
                return new Times(
                        median(ends.after(ends, 1)), recorded ? OptionalDouble.of(median(stops.after(starts, 0))) : OptionalDouble.empty(),
                        pipeline.batch().batch() * pipeline.batch().accumulate(), device.peakBytes(), device.peakHeldBytes());
            }
        }
    }

    private static void train(
            Experiment experiment, int warmUp, int steps, ProgressListener listener, Marks ends, Marks starts, Marks stops) {
        // it only begins epochs here: nothing is written
        Trainer trainer = new Trainer(experiment, Path.of(""), listener);
        experiment.method().restored();
        try (Loader loader = experiment.loader();
                TrainingStep updates = new TrainingStep(experiment, loader, message -> {})) {
            for (long step = 0; step < warmUp + steps; step++) {
                if (step % experiment.stepsPerEpoch() == 0) {
                    trainer.epoch(loader, step, new LinkedHashMap<>());
                }
                if (step == warmUp) {
                    updates.listen(new TrainingStep.LaunchListener() {
                        @Override
                        public void launching() {
                            starts.record();
                        }

                        @Override
                        public void launched() {
                            stops.record();
                        }
                    });
                }
                if (!updates.run(step).updated()) {
                    throw new LearningException("step " + (step + 1) + ": the loss or its gradient is not finite");
                }
                if (step >= warmUp - 1) {
                    ends.record();
                }
                requireRecorded(updates);
            }
            if (starts.recorded() < starts.size()) {
                throw new LearningException("only " + starts.recorded() + " of " + steps + " steps were launched as recorded");
            }
        }
    }

    private static void requireRecorded(TrainingStep updates) {
        String refusal = updates.refusal();
        if (refusal != null) {
            throw new LearningException("the step cannot be recorded: " + refusal);
        }
    }

    private static double median(double[] seconds) {
        Arrays.sort(seconds);
        int middle = seconds.length / 2;
        return seconds.length % 2 == 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
    }

    /** Points in a stream's work, recorded in order. */
    private static final class Marks implements AutoCloseable {
        private final GatunStream stream;
        private final List<GatunEvent> events;
        private int recorded;

        Marks(GatunStream stream, int count) {
            this.stream = stream;
            events = new ArrayList<>(IntStream.range(0, count).mapToObj(i -> new GatunEvent(stream.context())).toList());
        }

        void record() {
            events.get(recorded++).record(stream);
        }

        int recorded() {
            return recorded;
        }

        int size() {
            return events.size();
        }

        /** Seconds from each of the others to the one that stands {@code ahead} places behind it here. */
        double[] after(Marks others, int ahead) {
            return IntStream.range(ahead, events.size()).mapToDouble(i -> events.get(i).secondsSince(others.events.get(i - ahead))).toArray();
        }

        @Override
        public void close() {
            events.forEach(GatunEvent::close);
        }
    }
}
