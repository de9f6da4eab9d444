// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Loader;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.profile.Ceilings;
import dev.gatun.learning.profile.Profile;
import dev.gatun.learning.profile.Recorder;
import dev.gatun.primitives.GatunContext;
import dev.gatun.tensor.Device;
import java.nio.file.Path;
import java.util.LinkedHashMap;

/**
 * Splits the time of whole training steps by kernel: batch, views, loss, backward, update, and the host's look at the loss. Every second step is
 * profiled, the others show what a step takes without. What a run does besides, metrics and checkpoints, is left out. On a CUDA device, real or
 * emulated, steps are not recorded, and every call is waited for.
 */
public final class StepProfile {
    private StepProfile() {}

    /**
     * Trains a pipeline for a few steps.
     *
     * @param pipeline what to train; its length does not matter
     * @param warmUp steps before the timed ones, at least 1
     * @param steps how many are profiled, at least 1; as many more are timed as they are
     * @param listener hears what a run would warn of
     * @throws LearningException if the pipeline cannot be trained; one line
     */
    public static Profile run(Pipeline pipeline, int warmUp, int steps, ProgressListener listener) {
        if (warmUp < 1 || steps < 1) {
            throw new IllegalArgumentException("steps to profile and steps before them are at least 1, not " + steps + " and " + warmUp);
        }
        if (!pipeline.device().name().equals("cpu") && pipeline.device().capture()) {
            throw new IllegalArgumentException("a step that is launched as a whole has no calls to time: device.capture must be off");
        }
        try (Experiment experiment = Experiment.open(pipeline.with(pipeline.seed(), warmUp + 2 * steps))) {
            experiment.warnings().forEach(listener::warning);
            // it only begins epochs here: nothing is written
            Trainer trainer = new Trainer(experiment, Path.of(""), listener);
            experiment.method().restored();
            try (Loader loader = experiment.loader();
                    TrainingStep updates = new TrainingStep(experiment, loader, message -> {})) {
                return profile(experiment, trainer, loader, updates, warmUp, steps);
            }
        }
    }

    private static Profile profile(
            Experiment experiment, Trainer trainer, Loader loader, TrainingStep updates, int warmUp, int steps) {
        Device device = experiment.device();
        GatunContext context = device.stream().context();
        Recorder recorder = new Recorder();
        long plain = 0;
        long waited = 0;
        Ceilings before = Ceilings.NONE;
        for (int step = 0; step < warmUp + 2 * steps; step++) {
            if (step % experiment.stepsPerEpoch() == 0) {
                trainer.epoch(loader, step, new LinkedHashMap<>());
            }
            if (step == warmUp) {
                before = Ceilings.measure(device);
            }
            long waitedBefore = loader.waitedNanos();
            if ((step - warmUp) % 2 == 0) {
                long start = System.nanoTime();
                update(updates, step);
                plain += step < warmUp ? 0 : System.nanoTime() - start;
                continue;
            }
            // the code that listens has to be warm as well
            Recorder to = step < warmUp ? new Recorder() : recorder;
            context.listen(to);
            try {
                to.begin();
                update(updates, step);
                to.end();
            } finally {
                context.stopListening();
            }
            waited += step < warmUp ? 0 : loader.waitedNanos() - waitedBefore;
        }
        Ceilings ceilings = before.max(Ceilings.measure(device));
        int images = experiment.pipeline().batch().batch() * experiment.pipeline().batch().accumulate();
        return recorder.profile(device.name(), images, plain * 1e-9 / steps, waited, ceilings);
    }

    private static void update(TrainingStep updates, int step) {
        if (!updates.run(step).updated()) {
            throw new LearningException("step " + (step + 1) + ": the loss or its gradient is not finite");
        }
    }
}
