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
    private static final double PART = .05;

    /**
     * Trains for a tenth of a budget, but for 6 seconds at most (beyond a few steps): the first half to warm up, the second to
     * measure.
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
            Stopwatch watch = new Stopwatch(experiment.stepsPerEpoch(), Math.min(3, PART * seconds));
            Trainer trainer = new Trainer(experiment, scratch, watch);
            watch.trainer = trainer;
            trainer.train(false);
            double first = hooks(experiment, trainer, 0);
            double later = hooks(experiment, trainer, experiment.stepsPerEpoch());
            double step = watch.step();
            double epoch = watch.epochs > 0 ? Math.max(0, watch.epochSeconds / watch.epochs - step) : later;
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

    /** Times steps, those that begin an epoch apart, and ends the training when it has seen enough. */
    private static final class Stopwatch implements ProgressListener {
        private final long stepsPerEpoch;
        private final double each;
        private final long start = System.nanoTime();
        private Trainer trainer;
        private long last;
        private long warmUntil;
        private int steps;
        private double stepSeconds;
        private int epochs;
        private double epochSeconds;

        Stopwatch(long stepsPerEpoch, double each) {
            this.stepsPerEpoch = stepsPerEpoch;
            this.each = each;
        }

        @Override
        public void step(Progress progress) {
            long now = System.nanoTime();
            double took = (now - last) / (double) TimeUnit.SECONDS.toNanos(1);
            last = now;
            if (warmUntil == 0) {
                if (progress.step() >= 3 && seconds(start, now) >= each) {
                    warmUntil = now;
                }
                return;
            }
            // an epoch of one step has no step without its epoch's beginning
            if (stepsPerEpoch > 1 && (progress.step() - 1) % stepsPerEpoch == 0) {
                epochs++;
                epochSeconds += took;
            } else {
                steps++;
                stepSeconds += took;
            }
            if (steps >= FEWEST_STEPS && seconds(warmUntil, now) >= each) {
                trainer.requestStop();
            }
        }

        private static double seconds(long from, long to) {
            return (to - from) / (double) TimeUnit.SECONDS.toNanos(1);
        }

        double step() {
            return stepSeconds / steps;
        }
    }
}
