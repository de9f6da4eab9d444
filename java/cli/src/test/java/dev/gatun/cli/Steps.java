// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.Metrics;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/** A run looked at step by step: the trainer's own steps, with what each computed and the state it started from. */
final class Steps {
    /** What a step gave: its loss, and the gradient that the optimizer took, by parameter. */
    record Result(double loss, Map<String, float[]> gradients) {}

    private Steps() {}

    /** Trains to the end or until a number of updates are done. */
    static List<Result> train(Experiment experiment, Path folder, boolean resume, long until) {
        return train(experiment, folder, resume, until, null);
    }

    /** Trains freely; the checkpoint of the state before update {@code s} (from 0) is left in {@code states/s}. */
    static List<Result> train(Experiment experiment, Path folder, Path states) {
        return train(experiment, folder, false, experiment.steps(), states);
    }

    private static List<Result> train(Experiment experiment, Path folder, boolean resume, long until, @Nullable Path states) {
        List<Result> results = new ArrayList<>();
        Trainer[] trainer = new Trainer[1];
        trainer[0] = new Trainer(experiment, folder, new ProgressListener() {
            @Override
            public void step(Progress progress) {
                results.add(new Result(progress.loss(), gradients(experiment.parameters())));
                if (states != null) {
                    // the folder's checkpoint is still that of the step before
                    copyState(folder, states.resolve(Long.toString(progress.step() - 1)));
                }
                if (progress.step() == until) {
                    trainer[0].requestStop();
                }
            }
        });
        trainer[0].train(resume);
        return results;
    }

    /** One update from a state that {@link #train(Experiment, Path, Path)} left; the state stays as it is. */
    static Result one(Experiment experiment, Path state, Path folder) {
        return one(experiment, state, folder, () -> {});
    }

    /** As {@link #one(Experiment, Path, Path)}, with every stored f32 value moved by one ulp. */
    static Result moved(Experiment experiment, Path state, Path folder, long seed) {
        return moved(experiment, state, folder, seed, 0);
    }

    /** As {@link #one(Experiment, Path, Path)}, with every stored f32 value moved by this part of itself, by one ulp at least. */
    static Result moved(Experiment experiment, Path state, Path folder, long seed, double by) {
        return one(experiment, state, folder, () -> move(experiment.parameters(), seed, by));
    }

    /** Ends a training like a kill: what follows is not looked at, and its checkpoint would be waited for. */
    private static final class Seen extends RuntimeException {
        private static final long serialVersionUID = 1;

        final transient Result result;

        Seen(Result result) {
            super("one update has been seen");
            this.result = result;
        }
    }

    private static Result one(Experiment experiment, Path state, Path folder, Runnable restored) {
        copyState(state, folder);
        Trainer trainer = new Trainer(experiment, folder, new ProgressListener() {
            @Override
            public void phase(String name, long total) {
                if (name.equals("training")) {
                    restored.run();
                }
            }

            @Override
            public void step(Progress progress) {
                throw new Seen(new Result(progress.loss(), gradients(experiment.parameters())));
            }
        });
        return assertThrows(Seen.class, () -> trainer.train(true)).result;
    }

    /** Moves every f32 parameter and state to one of its two neighbours, at random. */
    static void move(Parameters parameters, long seed) {
        move(parameters, seed, 0);
    }

    /** Moves every f32 parameter and state up or down, at random, by this part of itself, by one ulp at least. */
    static void move(Parameters parameters, long seed, double by) {
        SplittableRandom random = new SplittableRandom(seed);
        for (NamedTensor each : parameters.tensors()) {
            if (each.tensor().dtype() == DType.F32) {
                float[] values = each.tensor().toArray();
                for (int i = 0; i < values.length; i++) {
                    float up = (float) (values[i] + by * Math.abs(values[i]));
                    float down = (float) (values[i] - by * Math.abs(values[i]));
                    values[i] = values[i] == 0 ? 0 : random.nextBoolean() ? Math.nextUp(up) : Math.nextDown(down);
                }
                each.tensor().copyFrom(values);
            }
        }
        parameters.written();
    }

    private static Map<String, float[]> gradients(Parameters parameters) {
        Map<String, float[]> gradients = new LinkedHashMap<>();
        for (Parameter parameter : parameters.all()) {
            gradients.put(parameter.name(), parameter.gradient().toArray());
        }
        return gradients;
    }

    private static void copyState(Path from, Path to) {
        try {
            Files.createDirectories(to);
            for (String name : List.of(Trainer.CHECKPOINT, Trainer.CONFIG)) {
                Files.copy(from.resolve(name), to.resolve(name), StandardCopyOption.REPLACE_EXISTING);
            }
            Files.deleteIfExists(to.resolve(Metrics.FILE));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
