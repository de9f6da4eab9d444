// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Loader;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.pipeline.Pipeline;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * What a pipeline's training costs on this machine, by a short training that is thrown away.
 *
 * @param step seconds an update
 * @param epoch seconds before an epoch: clustering, orders, checkpoints
 * @param start seconds that the first epoch takes beyond that
 * @param stepsPerEpoch updates an epoch
 */
public record Calibration(double step, double epoch, double start, long stepsPerEpoch) {
    private static final long NEVER = 1_000_000_000;
    private static final int FEWEST_STEPS = 5;

    // parts of the budget, and seconds
    private static final double WINDOW = .03;
    private static final double LONGEST_WINDOW = 2;
    private static final double PART = .25;
    private static final double LONGEST = 30;

    // the compiler of the JVM and the caches make the first steps slower than the rest; noise is a few percent
    private static final double STEADY = .95;

    /**
     * Trains until steps get no faster any more, for a quarter of the budget and half a minute at most (but a few steps at least).
     *
     * @param pipeline what will be trained
     * @param scratch a folder for it, deleted afterwards
     * @param seconds the budget
     * @throws LearningException if the pipeline cannot be trained; one line
     */
    public static Calibration measure(Pipeline pipeline, Path scratch, double seconds) {
        delete(scratch);
        AtomicFile.folder(scratch);
        try (Experiment experiment = Experiment.open(pipeline.with(pipeline.seed(), NEVER))) {
            Stopwatch watch = new Stopwatch(experiment.stepsPerEpoch(), seconds);
            Trainer trainer = new Trainer(experiment, scratch, watch);
            watch.end = trainer::requestStop;
            trainer.train(false);
            double first = hooks(experiment, trainer, 0);
            double later = hooks(experiment, trainer, experiment.stepsPerEpoch());
            Window measured = watch.measured;
            double step = measured.step();
            double epoch = measured.epochs() > 0 ? Math.max(0, measured.epochSeconds() / measured.epochs() - step) : later;
            return new Calibration(step, epoch, Math.max(0, first - later), experiment.stepsPerEpoch());
        } finally {
            delete(scratch);
        }
    }

    private static double hooks(Experiment experiment, Trainer trainer, long step) {
        try (Loader loader = experiment.loader()) {
            long before = System.nanoTime();
            trainer.epoch(loader, step, new LinkedHashMap<>());
            return (System.nanoTime() - before) / (double) TimeUnit.SECONDS.toNanos(1);
        }
    }

    /**
     * The updates that fit.
     *
     * @param seconds the budget
     * @return at least 1
     */
    public long steps(double seconds) {
        double wholeEpoch = epoch + step * stepsPerEpoch;
        double left = Math.max(0, seconds - start);
        long epochs = (long) (left / wholeEpoch);
        double rest = Math.max(0, left - epochs * wholeEpoch - epoch);
        return Math.max(1, epochs * stepsPerEpoch + (long) (rest / step));
    }

    private static void delete(Path folder) {
        if (!Files.exists(folder)) {
            return;
        }
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(folder, e, "cannot be deleted"), e);
        }
    }

    /** Steps that were timed, and apart from them those that begin an epoch. */
    private record Window(int steps, double stepSeconds, int epochs, double epochSeconds) {
        static final Window EMPTY = new Window(0, 0, 0, 0);

        Window plus(Window other) {
            return new Window(
                    steps + other.steps, stepSeconds + other.stepSeconds, epochs + other.epochs, epochSeconds + other.epochSeconds);
        }

        double step() {
            return stepSeconds / steps;
        }

        double seconds() {
            return stepSeconds + epochSeconds;
        }
    }

    /** Times windows of steps, and ends the training when a window is not faster than the one before. */
    private static final class Stopwatch implements ProgressListener {
        private final long stepsPerEpoch;
        private final double window;
        private final double most;
        private Runnable end = () -> {};
        private long last;
        private double total;
        private Window before = Window.EMPTY;
        private Window now = Window.EMPTY;
        private Window measured = Window.EMPTY;

        Stopwatch(long stepsPerEpoch, double seconds) {
            this.stepsPerEpoch = stepsPerEpoch;
            window = Math.min(LONGEST_WINDOW, WINDOW * seconds);
            most = Math.min(LONGEST, PART * seconds);
        }

        @Override
        public void step(Progress progress) {
            long time = System.nanoTime();
            double took = (time - last) / (double) TimeUnit.SECONDS.toNanos(1);
            boolean first = last == 0;
            last = time;
            if (first) {
                return;
            }
            total += took;
            // an epoch of one step has no step without its epoch's beginning
            boolean begins = stepsPerEpoch > 1 && (progress.step() - 1) % stepsPerEpoch == 0;
            now = now.plus(begins ? new Window(0, 0, 1, took) : new Window(1, took, 0, 0));
            if (now.steps() < FEWEST_STEPS || now.seconds() < window) {
                return;
            }
            measured = before.plus(now);
            if (total > most || before.steps() > 0 && now.step() > STEADY * before.step()) {
                end.run();
            }
            before = now;
            now = Window.EMPTY;
        }
    }
}
