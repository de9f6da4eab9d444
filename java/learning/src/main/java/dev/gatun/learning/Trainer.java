// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Batch;
import dev.gatun.data.Loader;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.checkpoint.Checkpoint;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.report.Report;
import dev.gatun.learning.report.Summary;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Trains an experiment's method. A step's tensors live in a scope of the step; after the first steps nothing is asked from
 * the system's allocator any more. What a step computes is a function of the seed, the global step and the state that
 * checkpoints hold, so that a run that was killed and resumed ends in the same bytes as one that was not.
 */
public final class Trainer {
    /** The name of the checkpoint in a run's folder. */
    public static final String CHECKPOINT = "checkpoint.safetensors";

    /** The name of the resolved pipeline file in a run's folder. */
    public static final String CONFIG = "config.yaml";

    private static final String IMAGES = "images";

    // what the position in the run and the shape of its state depend on
    private static final Set<String> FIXED = Set.of(
            "seed", "data.name", "data.batch", "data.accumulate", IMAGES, "method.name", "optimizer.name",
            "schedule.epochs",
            "schedule.steps");

    private static final int GROWING_STEPS = 20;

    private static final int EPOCH_STREAM = 1 << 19;

    private final Experiment experiment;
    private final Path folder;
    private final ProgressListener listener;
    private final Monitor monitor;
    private volatile boolean stop;
    private long checkpointStep;
    private long liveBytes = Long.MAX_VALUE;
    private int growing;
    private long launches;
    private @Nullable String refusal;

    /**
     * Makes a trainer.
     *
     * @param experiment what to train
     * @param folder the run's folder; made if it does not exist
     * @param listener hears the progress
     */
    public Trainer(Experiment experiment, Path folder, ProgressListener listener) {
        this.experiment = experiment;
        this.folder = folder;
        this.listener = listener;
        monitor = new Monitor(experiment.stepsPerEpoch(), experiment.pipeline().method().provider().advice());
    }

    /** Asks the training to end after the current step, with a checkpoint. May be called from any thread. */
    public void requestStop() {
        stop = true;
    }

    /** Why updates are not recorded and launched as a whole, where the device could; one line. */
    public Optional<String> refusal() {
        return Optional.ofNullable(refusal);
    }

    /** How many updates were launched as a whole, recorded before ({@link dev.gatun.tensor.CapturedStep}); none on a CPU. */
    public long launches() {
        return launches;
    }

    /**
     * Trains to the end, or until {@link #requestStop}.
     *
     * @param resume whether to go on from the folder's checkpoint; else the run starts at step 0
     * @return whether the run is complete
     * @throws LearningException if the loss is not finite, the folder cannot be written, or there is nothing to resume; one
     *     line
     */
    public boolean train(boolean resume) {
        long first = resume ? resume() : begin();
        experiment.warnings().forEach(listener::warning);
        listener.phase("training", experiment.steps());
        experiment.method().restored();
        try (Loader loader = experiment.loader();
                TrainingStep updates = new TrainingStep(experiment, loader, listener::message);
                Metrics metrics = Metrics.open(folder, first)) {
            Clock clock = new Clock(first == 0 ? 0 : soFar("seconds"), first == 0 ? 0 : soFar("seconds_waiting"), loader);
            for (long step = first; step < experiment.steps(); step++) {
                Map<String, Double> logged = new LinkedHashMap<>();
                if (step % experiment.stepsPerEpoch() == 0 || step == first) {
                    epoch(loader, step, logged);
                }
                TrainingStep.Result result = updates.run(step);
                requireUpdated(loader, step, result);
                logged.putAll(result.logged());
                if (experiment.optimizers().measured()) {
                    logged.put("gradient_norm", result.norms().getFirst());
                }
                watchMemory();
                report(metrics, clock, step, result.loss(), logged);
                launches = updates.launches();
                refusal = updates.refusal();
                boolean last = step + 1 == experiment.steps();
                if (due(step + 1) || last || stop) {
                    metrics.flush();
                    save(step + 1);
                }
                if (stop && !last) {
                    listener.message("stopped after step " + (step + 1) + " of " + experiment.steps()
                            + "; go on with --resume");
                    return false;
                }
            }
        }
        return true;
    }

    private long begin() {
        AtomicFile.folder(folder);
        // a new run must not be resumed from an old one's checkpoint, nor be taken for it by its results
        for (String old : List.of(CHECKPOINT, Pretraining.BACKBONE, Summary.FILE, Report.FILE)) {
            try {
                Files.deleteIfExists(folder.resolve(old));
            } catch (IOException e) {
                throw new LearningException(AtomicFile.reason(folder.resolve(old), e, "cannot be replaced"), e);
            }
        }
        AtomicFile.write(folder.resolve(CONFIG), experiment.pipeline().toYaml());
        save(0);
        return 0;
    }

    /** Fails in one line if a folder holds no run, not even one that was killed before its first checkpoint. */
    static void requireRun(Path folder) {
        if (!Files.exists(folder.resolve(CHECKPOINT)) && !Files.exists(folder.resolve(CONFIG))) {
            throw new LearningException(folder + ": no run to resume: it has no " + CHECKPOINT + " and no " + CONFIG);
        }
    }

    private long resume() {
        Path file = folder.resolve(CHECKPOINT);
        requireRun(folder);
        if (!Files.exists(file)) {
            listener.message("resumed at step 0 of " + experiment.steps() + ": the run has no checkpoint yet");
            return begin();
        }
        Checkpoint checkpoint = Checkpoint.load(file, experiment.parameters(), experiment.optimizers().state());
        Map<String, String> now = metadata();
        for (Map.Entry<String, String> item : checkpoint.metadata().entrySet()) {
            String key = item.getKey();
            if (item.getValue().equals(now.get(key))) {
                continue;
            }
            if (FIXED.contains(key) || key.startsWith("model.")) {
                throw new LearningException(file + ": a run with " + key + " " + item.getValue() + " cannot be resumed with "
                        + now.get(key));
            }
            listener.warning("resumed with " + key + " " + now.get(key) + " instead of " + item.getValue()
                    + ": the result is not that of one uninterrupted run");
        }
        // settings that the version which wrote the checkpoint did not have: what it computed then is not said
        now.keySet().removeAll(checkpoint.metadata().keySet());
        now.forEach((key, value) -> listener.warning("resumed with " + key + " " + value
                + ", of which the checkpoint says nothing: the result may not be that of one uninterrupted run"));
        if (checkpoint.step() > experiment.steps()) {
            throw new LearningException(file + ": is at step " + checkpoint.step() + ", this run has " + experiment.steps());
        }
        // the settings may differ where that is allowed: the folder says what holds now
        AtomicFile.write(folder.resolve(CONFIG), experiment.pipeline().toYaml());
        checkpointStep = checkpoint.step();
        listener.message("resumed at step " + checkpoint.step() + " of " + experiment.steps());
        return checkpoint.step();
    }

    private double soFar(String seconds) {
        List<Map<String, Double>> lines = Files.exists(folder.resolve(Metrics.FILE)) ? Metrics.read(folder) : List.of();
        return lines.isEmpty() ? 0 : lines.getLast().getOrDefault(seconds, 0.0);
    }

    /** What happens before a step that begins an epoch, or is the first after a resume. */
    void epoch(Loader loader, long step, Map<String, Double> logged) {
        int index = (int) (step / experiment.stepsPerEpoch());
        RandomKey key = new RandomKey(experiment.pipeline().seed(), index, EPOCH_STREAM);
        try (Scope scope = experiment.device().scope().open()) {
            Method method = experiment.method();
            var samples = new TrainingSamples(experiment, listener);
            if (step % experiment.stepsPerEpoch() == 0) {
                Epoch epoch = new Epoch(index, experiment.epochs(), scope, key, samples);
                method.beforeEpoch(epoch);
                logged.putAll(epoch.metrics());
            }
            method.order(index, key.child(-1)).ifPresent(order -> loader.order(index, order));
        }
    }

    // a step's tensors are gone after it; what is computed from state alone lives where the state does, and fills the memory
    private void watchMemory() {
        long live = experiment.device().liveBytes();
        growing = live > liveBytes ? growing + 1 : 0;
        if (growing == GROWING_STEPS) {
            listener.warning("every step leaves " + (live - liveBytes) + " bytes behind that are never freed: what is computed from "
                    + "the value of a state or a parameter alone lives as long as the run; use step.pass().use(state)");
        }
        liveBytes = live;
    }

    // the parameters are still those of the last good step
    private void requireUpdated(Loader loader, long index, TrainingStep.Result result) {
        if (result.updated()) {
            return;
        }
        if (!Double.isFinite(result.loss())) {
            throw notFinite(loader, index, result.loss());
        }
        experiment.parameters().notFinite().ifPresent(parameter -> {
            throw stopped(index, "the gradient is not finite; first: that of " + parameter.name());
        });
        throw stopped(index, "the norm of the gradient is not finite");
    }

    // the loss is computed once more to find where it broke
    private LearningException notFinite(Loader loader, long index, double value) {
        String operation = "unknown";
        int parts = experiment.pipeline().batch().accumulate();
        for (int part = 0; part < parts && operation.equals("unknown"); part++) {
            operation = firstNotFinite(loader, index, part).orElse(operation);
        }
        return stopped(index, "the loss of " + experiment.pipeline().method().name() + " is " + value
                + "; first not finite: " + operation);
    }

    private Optional<String> firstNotFinite(Loader loader, long index, int part) {
        try (Scope scope = experiment.device().scope().open()) {
            Tape tape = Tape.on(scope);
            tape.checkFinite(true);
            Step step = TrainingStep.step(experiment, tape, index, part, new LinkedHashMap<>(), (metric, metricValue) -> {});
            Batch batch = loader.batch(scope, index * experiment.pipeline().batch().accumulate() + part);
            if (batch.views().stream().anyMatch(view -> !view.images().finite())) {
                return Optional.of("views");
            }
            step.pass().withSamples(batch.ids());
            experiment.method().loss(
                    experiment.method().usesLabels() ? batch : new Batch(batch.ids(), batch.views(), new int[0]), step);
            return Optional.empty();
        } catch (RuntimeException e) {
            return Optional.of(experiment.pipeline().method().provider().explain(e).orElse(e.getMessage()));
        }
    }

    private LearningException stopped(long index, String what) {
        return new LearningException("step " + (index + 1) + ": " + what + "; the parameters were not updated; the last good "
                + "checkpoint is that of step " + checkpointStep + ", " + folder.resolve(CHECKPOINT));
    }

    private void report(Metrics metrics, Clock clock, long step, double loss, Map<String, Double> logged) {
        Pipeline pipeline = experiment.pipeline();
        double images = pipeline.batch().batch() * (double) pipeline.batch().accumulate();
        double rate = clock.tick(images);
        float lr = experiment.schedule().at(step);
        Map<String, Double> line = new LinkedHashMap<>();
        line.put("step", step + 1.0);
        line.put("epoch", step / experiment.stepsPerEpoch() + 1.0);
        line.put("loss", (double) (float) loss);
        line.put("lr", Double.parseDouble(Float.toString(lr)));
        line.put("images_per_second", Math.rint(rate * 10) / 10);
        line.put("seconds", Math.rint(clock.seconds() * 1000) / 1000);
        line.put("seconds_waiting", Math.rint(clock.waiting() * 1e6) / 1e6);
        line.putAll(logged);
        metrics.write(line);
        listener.step(new ProgressListener.Progress(
                step + 1, experiment.steps(), (int) (step / experiment.stepsPerEpoch()), experiment.epochs(),
                loss, lr, rate));
        monitor.take(step + 1, loss, logged).forEach(listener::warning);
    }

    private boolean due(long step) {
        var settings = experiment.pipeline().checkpoint();
        return step % (experiment.stepsPerEpoch() * settings.everyEpochs()) == 0
                || settings.everySteps() > 0 && step % settings.everySteps() == 0;
    }

    private void save(long step) {
        Checkpoint.save(
                folder.resolve(CHECKPOINT), new Checkpoint(step, metadata()), experiment.parameters(),
                experiment.optimizers().state());
        checkpointStep = step;
    }

    /** How many samples the run of a checkpoint trains on. */
    static OptionalInt samples(Path checkpoint) {
        String images = Checkpoint.read(checkpoint).metadata().get(IMAGES);
        return images == null ? OptionalInt.empty() : OptionalInt.of(Integer.parseInt(images));
    }

    // what a resumed run is compared with
    private Map<String, String> metadata() {
        Map<String, String> metadata = new LinkedHashMap<>(experiment.pipeline().identity());
        metadata.put(IMAGES, Integer.toString(experiment.data().pretrain().size()));
        return metadata;
    }

    /** Training time, what of it was waiting for samples, and a rate that forgets. */
    private static final class Clock {
        private final double before;
        private final double waitedBefore;
        private final Loader loader;
        private final long start = System.nanoTime();
        private long last = start;
        private double rate;

        Clock(double before, double waitedBefore, Loader loader) {
            this.before = before;
            this.waitedBefore = waitedBefore;
            this.loader = loader;
        }

        double waiting() {
            return waitedBefore + loader.waitedNanos() / (double) TimeUnit.SECONDS.toNanos(1);
        }

        double seconds() {
            return before + (last - start) / (double) TimeUnit.SECONDS.toNanos(1);
        }

        double tick(double images) {
            long now = System.nanoTime();
            double current = images * TimeUnit.SECONDS.toNanos(1) / Math.max(1, now - last);
            last = now;
            // a time constant of about ten steps; the first step, which compiles and allocates, is not remembered long
            rate = rate == 0 ? current : .9 * rate + .1 * current;
            return rate;
        }
    }
}
