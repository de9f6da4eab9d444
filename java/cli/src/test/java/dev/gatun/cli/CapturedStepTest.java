// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.pipeline.PipelineReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A step that is recorded and launched computes, to the bit, what it computes operation by operation. */
class CapturedStepTest {
    private static final int STEPS = 7;

    @TempDir
    Path folder;

    private record Run(byte[] checkpoint, List<String> metrics, List<String> messages, long launches) {}

    private Run train(Path config, boolean capture) throws IOException {
        List<String> messages = new ArrayList<>();
        Path out = folder.resolve("capture-" + capture);
        try (Experiment experiment = Experiment.open(
                PipelineReader.read(config, List.of("device.name=emulated", "device.capture=" + capture)))) {
            Trainer trainer = new Trainer(experiment, out, new ProgressListener() {
                @Override
                public void message(String text) {
                    messages.add(text);
                }
            });
            assertTrue(trainer.train(false));
            // times differ from run to run
            List<String> metrics = Files.readAllLines(out.resolve("metrics.jsonl")).stream()
                    .map(line -> line.replaceAll("\"(seconds|seconds_waiting|images_per_second)\":[^,}]*", ""))
                    .toList();
            return new Run(Files.readAllBytes(out.resolve(Trainer.CHECKPOINT)), metrics, messages, trainer.launches());
        }
    }

    private static String model(String name) {
        return name.equals("convnet")
                ? "{name: convnet, widths: [4, 8]}"
                : "{name: vit, patch: 2, width: 8, depth: 2, heads: 2, drop_path: 0.3, drop_path_form: " + name + "}";
    }

    private Path config(String method, String model, int parts, String precision) throws IOException {
        Path config = Tiny.config(folder, 1);
        return Files.writeString(config, Files.readString(config)
                .replaceAll("model: .*", "model: " + model(model))
                .replaceAll("method: .*", "method: {name: " + method + "}")
                .replace(", {role: local, count: 1, size: 6}", method.startsWith("byol") ? "" : ", {role: local, count: 1, size: 6}")
                .replace("batch: 16", "batch: 8, accumulate: " + parts)
                .replace("epochs: 1}", "steps: " + STEPS + "}")
                .replace("seed: 5", "seed: 5\nprecision: " + precision));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "swav, prototypes: 8, hidden: [16], output: 8, freeze_epochs: 0, freeze_steps: 4 | convnet | 1 | f32 | 5",
        "swav, prototypes: 8, hidden: [16], output: 8, freeze_epochs: 0, queue: 16, queue_start_epoch: 0 | convnet | 1 | f32 | 5",
        "swav, prototypes: 8, hidden: [16], output: 8, freeze_epochs: 0, queue: 16, queue_start_epoch: 0 | convnet | 2 | f32 | 5",
        "swav, prototypes: 8, hidden: [16], output: 8, freeze_epochs: 0 | mask | 2 | f32 | 6",
        "swav, prototypes: 8, hidden: [16], output: 8, freeze_epochs: 0 | subset | 1 | bf16 | 6",
        "byol, hidden: [16], output: 8, tau: 0.9 | subset | 1 | f32 | 6",
        "simclr, hidden: [16], output: 8 | convnet | 2 | bf16 | 6",
        "supcon, hidden: [16], output: 8 | convnet | 1 | f32 | 6",
        "cosub | mask | 1 | f32 | 6",
        "cosub, loss: softmax | subset | 1 | f32 | 6",
        "supervised | subset | 1 | f32 | 6",
        "deepcluster, clusters: 8, hidden: 16, components: 4, iterations: 3 | convnet | 1 | f32 | 6",
    })
    void recordedEqualsEager(String method, String model, int parts, String precision, int launches) throws IOException {
        assertEquals(List.of(), both(config(method, model, parts, precision), launches));
    }

    /** What the run that was to be recorded said. */
    private List<String> both(Path config, int launches) throws IOException {
        Run eager = train(config, false);
        Run recorded = train(config, true);
        assertEquals(0, eager.launches());
        assertEquals(launches, recorded.launches());
        assertEquals(eager.metrics(), recorded.metrics());
        assertArrayEquals(eager.checkpoint(), recorded.checkpoint());
        return recorded.messages();
    }

    @Test
    void aMethodThatNeedsTheHostSaysWhereAndIsComputedEagerly() throws IOException {
        String method = "deepcluster_v2, prototypes: [8], hidden: [16], output: 8, iterations: 3";
        List<String> messages = both(config(method, "convnet", 1, "f32"), 0);
        assertEquals(1, messages.size());
        assertTrue(messages.getFirst().matches("the step is not recorded and launched as a whole: MultiView\\.indices \\(MultiView\\.java:\\d+\\) "
                + "reads batch\\.ids\\(\\) outside of Scope\\.fromHost\\(\\.\\.\\.\\)"), messages.getFirst());
    }

    /** The configuration of a user's method. */
    private Path ofOneFile(String name, String source) throws IOException {
        Path file = Files.writeString(folder.resolve(name + ".java"), source);
        Path config = config("simclr", "convnet", 1, "f32");
        return Files.writeString(config, Files.readString(config).replaceAll("method: .*", "method: {name: " + file + "}"));
    }

    @Test
    void aMethodOfTheUsersMayKeepAMovingAverage() throws IOException {
        Path config = ofOneFile("Follower", """
                import dev.gatun.data.Batch;
                import dev.gatun.learning.*;
                import dev.gatun.tensor.Tensor;
                import dev.gatun.tensor.layer.*;
                import dev.gatun.tensor.optimizer.Ema;

                public class Follower implements Method {
                    private Encoder encoder, teacher;
                    private Ema ema;

                    public void build(MethodBuild build) {
                        Parameters average = build.parameters().apart("teacher");
                        encoder = build.encoder();
                        teacher = build.encoders().apply(average);
                        ema = new Ema(average, build.parameters());
                    }

                    public Tensor loss(Batch batch, Step step) {
                        Tensor x = batch.views().get(0).images();
                        Tensor z = teacher.forward(step.pass().withoutGradient(), batch.views().get(1).images());
                        return encoder.forward(step.pass(), x).sub(z).square().mean();
                    }

                    @Override
                    public void afterUpdate(Step step) {
                        ema.update(.9f);
                    }
                }
                """);
        assertEquals(List.of(), both(config, STEPS - 1));
    }

    @Test
    void whatTheFirstUpdateMakesForLaterOnesCostsOneMoreRehearsal() throws IOException {
        Path config = ofOneFile("Lazy", """
                import dev.gatun.data.Batch;
                import dev.gatun.learning.*;
                import dev.gatun.tensor.*;
                import dev.gatun.tensor.layer.*;

                public class Lazy implements Method {
                    private Encoder encoder;
                    private Tensor kept;

                    public void build(MethodBuild build) {
                        encoder = build.encoder();
                    }

                    public Tensor loss(Batch batch, Step step) {
                        Tensor images = batch.views().get(0).images();
                        try (Scope work = step.scope().open()) {
                            work.zeros(100_000); // of a size that nothing else has
                        }
                        if (kept == null) {
                            kept = images.device().scope().full(2f, 100_000);
                        }
                        Tensor factor = step.scope().attach(kept).slice(0, 0, 1).reshape();
                        return encoder.forward(step.pass(), images).square().mean().mul(factor);
                    }
                }
                """);
        assertEquals(List.of(), both(config, STEPS - 2));
    }

    @Test
    void aMethodOfTheUsersThatKeepsTensorsIsComputedEagerly() throws IOException {
        Path config = ofOneFile("Remembering", """
                import dev.gatun.data.Batch;
                import dev.gatun.learning.*;
                import dev.gatun.tensor.*;
                import dev.gatun.tensor.layer.*;

                public class Remembering implements Method {
                    private Encoder encoder;
                    private Scope kept;
                    private Tensor before;

                    public void build(MethodBuild build) {
                        encoder = build.encoder();
                    }

                    public Tensor loss(Batch batch, Step step) {
                        Tensor z = encoder.forward(step.pass(), batch.views().get(0).images());
                        Tensor target = before == null ? z.detach() : step.scope().attach(before).add(0f);
                        Scope old = kept;
                        kept = step.scope().device().scope().open();
                        before = kept.attach(z.detach()).add(1f);
                        if (old != null) {
                            old.close();
                        }
                        return z.sub(target).square().mean();
                    }
                }
                """);
        List<String> messages = both(config, 0);
        assertEquals(1, messages.size());
        assertTrue(messages.getFirst().matches("the step is not recorded and launched as a whole: it leaves \\d+ bytes behind in every step"),
                messages.getFirst());
    }

    @Test
    void aMethodOfTheUsersThatCountsStepsIsComputedEagerly() throws IOException {
        Path config = ofOneFile("Rising", """
                import dev.gatun.data.Batch;
                import dev.gatun.learning.*;
                import dev.gatun.tensor.Tensor;
                import dev.gatun.tensor.layer.*;

                public class Rising implements Method {
                    private Encoder encoder;

                    public void build(MethodBuild build) {
                        encoder = build.encoder();
                    }

                    public Tensor loss(Batch batch, Step step) {
                        Tensor z = encoder.forward(step.pass(), batch.views().get(0).images());
                        return z.square().mean().mul(1f + step.index());
                    }
                }
                """);
        List<String> messages = both(config, 0);
        assertEquals(1, messages.size());
        assertTrue(messages.getFirst().contains("Rising.loss (Rising.java:15) reads step.index(); use step.scalar(...) or step.when(...)"),
                messages.getFirst());
    }
}
