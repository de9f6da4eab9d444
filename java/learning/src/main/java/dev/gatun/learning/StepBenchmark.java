// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.primitives.GatunEvent;
import dev.gatun.primitives.GatunStream;
import dev.gatun.tensor.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Times whole training steps as a run takes them, by the trainer that runs take: batch up, views, loss, backward, update, metrics. The time
 * of a step is that between two events on the device's stream, one behind each step, so that what the host delays counts.
 */
public final class StepBenchmark {
    /**
     * What was timed.
     *
     * @param seconds from step to step, the median
     * @param images samples of a step
     * @param peakBytes the most device memory that tensors took at once, from the making of the parameters on
     * @param heldBytes the device memory that was held at the end, what lies unused in the allocator included
     */
    public record Times(double seconds, int images, long peakBytes, long heldBytes) {}

    private StepBenchmark() {}

    /**
     * Trains a pipeline for a few steps.
     *
     * @param pipeline what to train; its length does not matter
     * @param warmUp steps before the timed ones, at least 1
     * @param steps timed steps, at least 1
     * @param warnings hears what a run would warn of
     * @throws LearningException if the pipeline cannot be trained; one line
     * @throws dev.gatun.primitives.GatunException OUT_OF_MEMORY if the device has not enough for its batch
     */
    public static Times run(Pipeline pipeline, int warmUp, int steps, ProgressListener warnings) {
        if (warmUp < 1 || steps < 1) {
            throw new IllegalArgumentException("steps to time and steps before them are at least 1, not " + steps + " and " + warmUp);
        }
        try (Experiment experiment = Experiment.open(pipeline.with(pipeline.seed(), warmUp + steps));
                Marks marks = new Marks(experiment.device(), warmUp, steps, warnings)) {
            Path folder = Files.createTempDirectory("gatun-steps");
            try {
                new Trainer(experiment, folder, marks).train(false);
            } finally {
                delete(folder);
            }
            Device device = experiment.device();
            return new Times(marks.median(), pipeline.batch().batch() * pipeline.batch().accumulate(), device.peakBytes(), device.heldBytes());
        } catch (IOException e) {
            throw new LearningException("a folder for the run: " + e.getMessage(), e);
        }
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }

    /** An event behind the last step of the warm-up and behind each one after it. */
    private static final class Marks implements ProgressListener, AutoCloseable {
        private final GatunStream stream;
        private final int warmUp;
        private final List<GatunEvent> events;
        private final ProgressListener warnings;

        Marks(Device device, int warmUp, int steps, ProgressListener warnings) {
            stream = device.stream();
            this.warmUp = warmUp;
            this.warnings = warnings;
            events = new ArrayList<>(IntStream.rangeClosed(0, steps).mapToObj(i -> new GatunEvent(stream.context())).toList());
        }

        @Override
        public void step(Progress progress) {
            if (progress.step() >= warmUp) {
                events.get(Math.toIntExact(progress.step() - warmUp)).record(stream);
            }
        }

        @Override
        public void warning(String text) {
            warnings.warning(text);
        }

        double median() {
            double[] seconds = IntStream.range(1, events.size()).mapToDouble(i -> events.get(i).secondsSince(events.get(i - 1))).sorted().toArray();
            int middle = seconds.length / 2;
            return seconds.length % 2 == 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
        }

        @Override
        public void close() {
            events.forEach(GatunEvent::close);
        }
    }
}
