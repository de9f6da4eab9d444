// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Dataset;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.checkpoint.Checkpoint;
import dev.gatun.learning.evaluation.Classification;
import dev.gatun.learning.evaluation.Evaluation;
import dev.gatun.learning.evaluation.Evaluation.Results;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import dev.gatun.learning.evaluation.Features;
import dev.gatun.learning.evaluation.Floors;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.NpyWriter;
import dev.gatun.learning.report.Report;
import dev.gatun.learning.report.Summary;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A whole run: train, evaluate, summarise, report. Its folder holds {@code config.yaml} (resolved), {@code metrics.jsonl},
 * {@code checkpoint.safetensors}, and at the end {@code backbone.safetensors}, {@code summary.json} and
 * {@code report.html}.
 */
public final class Pretraining {
    /** The name of the backbone's weights in a run's folder. */
    public static final String BACKBONE = "backbone.safetensors";

    private final Pipeline pipeline;
    private final Path folder;
    private final Floors floors;
    private final ProgressListener listener;
    private volatile boolean stopRequested;
    private volatile boolean trained;
    private volatile @Nullable Trainer trainer;

    /**
     * Describes a run; nothing is opened yet.
     *
     * @param pipeline the experiment
     * @param folder the run's folder
     * @param listener hears the progress
     */
    public Pretraining(Pipeline pipeline, Path folder, ProgressListener listener) {
        this(pipeline, folder, new Floors(), listener);
    }

    /**
     * Describes one of several runs that are scored beside the same floors.
     *
     * @param pipeline the experiment
     * @param folder the run's folder
     * @param floors scores that need not be computed again; new ones are added
     * @param listener hears the progress
     */
    public Pretraining(Pipeline pipeline, Path folder, Floors floors, ProgressListener listener) {
        this.pipeline = pipeline;
        this.folder = folder;
        this.floors = floors;
        this.listener = listener;
    }

    /**
     * Asks the training to end after the current step, with a checkpoint. May be called from any thread, at any time.
     *
     * @return whether to wait for that; false once the training is over and its checkpoint written: what follows can be
     *     cut off at any moment and repeated by a resumed run
     */
    public boolean requestStop() {
        stopRequested = true;
        Trainer running = trainer;
        if (running != null) {
            running.requestStop();
        }
        return !trained;
    }

    /**
     * Runs.
     *
     * @param resume whether to go on from the folder's checkpoint
     * @return the summary; empty if the run was stopped before its end
     * @throws LearningException if something its user can act on is wrong; one line
     * @throws dev.gatun.data.DataException if the data are missing or unusable; one line
     */
    public Optional<Summary> run(boolean resume) {
        if (resume) {
            Trainer.requireRun(folder);
        }
        AtomicFile.folder(folder);
        try (FolderLock _ = FolderLock.take(folder);
                Experiment experiment = Experiment.open(pipeline)) {
            Trainer running = new Trainer(experiment, folder, listener);
            trainer = running;
            if (stopRequested) {
                running.requestStop();
            }
            if (!running.train(resume)) {
                return Optional.empty();
            }
            trained = true;
            if (stopRequested) {
                listener.message("stopped before the evaluation; go on with --resume");
                return Optional.empty();
            }
            Checkpoint.saveBackbone(folder.resolve(BACKBONE), experiment.parameters().sub(Experiment.BACKBONE));
            return Optional.of(finish(experiment, running, resume));
        } catch (RuntimeException e) {
            Optional<String> line = pipeline.method().provider().explain(e);
            if (line.isPresent()) {
                throw new LearningException(line.get(), e);
            }
            throw e;
        } finally {
            trainer = null;
        }
    }

    private Summary finish(Experiment experiment, Trainer trainer, boolean resumed) {
        Device device = experiment.device();
        Summary.Training training = new Summary.Training(
                resumed ? OptionalLong.empty() : OptionalLong.of(device.peakBytes()),
                resumed || device.sharesHostMemory() ? OptionalLong.empty() : OptionalLong.of(device.peakHeldBytes()),
                !device.records() ? OptionalLong.empty() : OptionalLong.of(trainer.launches()),
                trainer.refusal());
        Results results = Evaluation.results(experiment, floors, listener);
        List<Map<String, Double>> metrics = Metrics.read(folder);
        Summary summary = Summary.of(experiment, metrics, results, training);
        summary.write(folder);
        listener.phase("report", 0);
        Report.write(experiment, summary, metrics, results, folder);
        return summary;
    }

    /**
     * Opens a run's experiment with the weights of its checkpoint.
     *
     * @param folder the run's folder
     * @param overrides settings of the form {@code a.b=value}, for instance other data
     * @throws LearningException if the folder holds no run, or its checkpoint does not fit; one line
     */
    public static Experiment restore(Path folder, List<String> overrides) {
        Path config = folder.resolve(Trainer.CONFIG);
        if (!Files.exists(config) || !Files.exists(folder.resolve(Trainer.CHECKPOINT))) {
            throw new LearningException(
                    folder + ": not a run's folder: it lacks " + Trainer.CONFIG + " or " + Trainer.CHECKPOINT);
        }
        Path checkpoint = folder.resolve(Trainer.CHECKPOINT);
        Experiment experiment = Experiment.openToEvaluate(
                PipelineReader.read(config, overrides), overrides.isEmpty() ? OptionalInt.empty() : Trainer.samples(checkpoint));
        try {
            Checkpoint.loadParameters(checkpoint, experiment.parameters());
            return experiment;
        } catch (RuntimeException e) {
            experiment.close();
            throw e;
        }
    }

    /**
     * Scores a run's checkpoint once more; the listener also hears what a classifier itself predicts.
     *
     * @param folder the run's folder
     * @param overrides settings of the form {@code a.b=value}
     * @param listener hears the progress
     * @return scores by features
     */
    public static Map<String, Scores> evaluate(Path folder, List<String> overrides, ProgressListener listener) {
        try (Experiment experiment = restore(folder, overrides)) {
            Classification.of(experiment, listener);
            return Evaluation.run(experiment, new Floors(), listener);
        }
    }

    /**
     * Writes the features of a data part for use elsewhere.
     *
     * @param folder the run's folder
     * @param overrides settings of the form {@code a.b=value}
     * @param part {@code train} or {@code test}
     * @param file a {@code .npy} file, (N, D) float32; the labels go beside it into {@code <name>.labels.txt}, one a line
     * @param listener hears the progress
     * @return the number of samples
     */
    public static int embed(Path folder, List<String> overrides, String part, Path file, ProgressListener listener) {
        try (Experiment experiment = restore(folder, overrides);
                Scope scope = experiment.host().scope().open()) {
            Dataset data = switch (part) {
                case "train" -> experiment.data().train();
                case "test" -> experiment.data().test()
                        .orElseThrow(() -> new LearningException("embed: the data have no test part; known parts: train"));
                default -> throw new LearningException("embed: no part " + part + "; known parts: train, test");
            };
            listener.phase("embedding", data.size());
            Features features =
                    Evaluation.features(scope, experiment, Evaluation.trained(experiment), data, 0, listener);
            NpyWriter.write(file, features.values());
            if (data.labelled()) {
                StringBuilder labels = new StringBuilder();
                for (int label : features.labels()) {
                    labels.append(label).append('\n');
                }
                AtomicFile.write(labelsFile(file), labels.toString());
            }
            return features.count();
        }
    }

    private static Path labelsFile(Path file) {
        String name = file.getFileName().toString().replaceFirst("\\.npy$", "");
        return file.resolveSibling(name + ".labels.txt");
    }
}
