// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.learning.pipeline.BatchSettings;
import dev.gatun.learning.pipeline.CheckpointSettings;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.Section;
import dev.gatun.tensor.layer.EncoderProvider;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Training runs of tests, and ways to end them. */
final class Runs {
    /** What a test's kill throws: nothing may catch it. */
    static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1;

        Killed() {
            super("killed");
        }
    }

    /** Stops like a kill: by an exception after a step, before its checkpoint. */
    record KillAfter(long step) implements ProgressListener {
        @Override
        public void step(Progress progress) {
            if (progress.step() == step) {
                throw new Killed();
            }
        }
    }

    private Runs() {}

    static Pipeline with(Pipeline p, BatchSettings batch, CheckpointSettings checkpoint) {
        return new Pipeline(
                p.version(), p.seed(), p.device(), p.precision(), p.data(), batch, p.views(), p.model(), p.method(),
                p.optimizer(), p.schedule(), p.evaluation(), checkpoint);
    }

    static Pipeline with(Pipeline p, Section<EncoderProvider> model) {
        return new Pipeline(
                p.version(), p.seed(), p.device(), p.precision(), p.data(), p.batch(), p.views(), model, p.method(),
                p.optimizer(), p.schedule(), p.evaluation(), p.checkpoint());
    }

    static Pipeline with(Pipeline p, MethodProvider method) {
        return new Pipeline(
                p.version(), p.seed(), p.device(), p.precision(), p.data(), p.batch(), p.views(), p.model(),
                new Section<>(p.method().name(), method, p.method().settings()), p.optimizer(), p.schedule(), p.evaluation(),
                p.checkpoint());
    }

    static boolean train(Pipeline pipeline, Path folder, boolean resume, ProgressListener listener) {
        try (Experiment experiment = Experiment.open(pipeline)) {
            return new Trainer(experiment, folder, listener).train(resume);
        }
    }

    static byte[] checkpoint(Path folder) throws IOException {
        return Files.readAllBytes(folder.resolve(Trainer.CHECKPOINT));
    }

    /** The metrics of every step but how long it took. */
    static List<Map<String, Double>> metrics(Path folder) {
        List<Map<String, Double>> lines = Metrics.read(folder);
        lines.forEach(line -> line.keySet().removeAll(List.of("seconds", "seconds_waiting", "images_per_second")));
        return lines;
    }

    /** The root of the source tree. */
    static Path root() {
        Path root = Path.of("").toAbsolutePath();
        while (!Files.isDirectory(root.resolve("examples"))) {
            root = root.getParent();
        }
        return root;
    }
}
