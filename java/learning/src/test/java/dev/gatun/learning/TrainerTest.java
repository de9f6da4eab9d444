// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.checkpoint.Safetensors;
import dev.gatun.learning.method.SourceMethod;
import dev.gatun.learning.method.SupervisedProvider;
import dev.gatun.learning.pipeline.BatchSettings;
import dev.gatun.learning.pipeline.CheckpointSettings;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.Section;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainerTest {
    @TempDir
    Path folder;

    @Test
    void learnsAndTwoRunsGiveTheSameBytes() throws IOException {
        assertTrue(Runs.train(Synthetic.pull(96, 6), folder.resolve("a"), false, ProgressListener.SILENT));
        assertTrue(Runs.train(Synthetic.pull(96, 6), folder.resolve("b"), false, ProgressListener.SILENT));
        assertArrayEquals(Runs.checkpoint(folder.resolve("a")), Runs.checkpoint(folder.resolve("b")));
        List<Map<String, Double>> metrics = Metrics.read(folder.resolve("a"));
        assertEquals(48, metrics.size());
        assertTrue(metrics.getLast().get("loss") < .8 * metrics.getFirst().get("loss"), metrics.toString());
        assertTrue(metrics.getLast().containsKey("gradient_norm"));
    }

    @Test
    void aKilledAndResumedRunEndsInTheSameBytes() throws IOException {
        Pipeline pipeline = Runs.with(Synthetic.pull(96, 3), new BatchSettings(12, 1), new CheckpointSettings(1, 3, ""));
        Runs.train(pipeline, folder.resolve("whole"), false, ProgressListener.SILENT);
        for (int kill : new int[] {1, 4, 9, 17, 23}) {
            Path part = folder.resolve("part" + kill);
            assertThrows(Runs.Killed.class, () -> Runs.train(pipeline, part, false, new Runs.KillAfter(kill)));
            assertFalse(java.util.Arrays.equals(Runs.checkpoint(part), Runs.checkpoint(folder.resolve("whole"))));
            assertTrue(Runs.train(pipeline, part, true, ProgressListener.SILENT));
            assertArrayEquals(Runs.checkpoint(folder.resolve("whole")), Runs.checkpoint(part), "killed after step " + kill);
            List<Map<String, Double>> metrics = Metrics.read(part);
            assertEquals(24, metrics.size(), "every step is logged once");
            for (int i = 0; i < metrics.size(); i++) {
                assertEquals(i + 1.0, metrics.get(i).get("step"));
            }
        }
    }

    @Test
    void theSupervisedBaselineLearnsTheLabels() {
        Pipeline pipeline = Synthetic.pipeline(new SupervisedProvider(), new SupervisedProvider.Settings(), 96, 30);
        Runs.train(pipeline, folder, false, ProgressListener.SILENT);
        List<Map<String, Double>> metrics = Metrics.read(folder);
        assertTrue(metrics.getLast().get("loss") < .5 * Math.log(Synthetic.CLASSES), metrics.getLast().toString());
    }

    @Test
    void accumulatedBatchesGiveTheGradientOfOneLargeBatch() {
        // the loss is a mean over samples and the views are not random, so two halves give the update of the whole; what
        // differs is the order of a sum of 24 terms in f32
        double whole = lossAfterAnUpdate(new BatchSettings(24, 1));
        assertEquals(whole, lossAfterAnUpdate(new BatchSettings(12, 2)), 24 * Math.ulp(1f) * whole);
        assertTrue(Math.abs(whole - lossAfterAnUpdate(new BatchSettings(12, 1))) > 1e-3 * whole);
    }

    private double lossAfterAnUpdate(BatchSettings batch) {
        List<Double> losses = new ArrayList<>();
        Pipeline p = Synthetic.pull(24, 2);
        var still = new Section<>("noise", p.views().provider(), new Synthetic.Noise.Settings(
                List.of(new Synthetic.Noise.Crop("global", 2)), 0));
        Pipeline pipeline = new Pipeline(
                p.version(), p.seed(), p.device(), p.precision(), p.data(), batch, still, p.model(), p.method(),
                p.optimizer(), p.schedule(), p.evaluation(), p.checkpoint());
        Runs.train(pipeline, folder.resolve("accumulate"), false, new ProgressListener() {
            @Override
            public void step(Progress progress) {
                losses.add(progress.loss());
            }
        });
        return losses.get(1);
    }

    @Test
    void aRequestedStopEndsWithACheckpointThatResumesToTheSameBytes() throws IOException {
        Pipeline pipeline = Synthetic.pull(96, 2);
        Runs.train(pipeline, folder.resolve("whole"), false, ProgressListener.SILENT);
        Path part = folder.resolve("part");
        try (Experiment experiment = Experiment.open(pipeline)) {
            Trainer[] trainer = new Trainer[1];
            trainer[0] = new Trainer(experiment, part, new ProgressListener() {
                @Override
                public void step(Progress progress) {
                    if (progress.step() == 5) {
                        trainer[0].requestStop();
                    }
                }
            });
            assertFalse(trainer[0].train(false));
        }
        assertEquals(5, Metrics.read(part).size());
        assertTrue(Runs.train(pipeline, part, true, ProgressListener.SILENT));
        assertArrayEquals(Runs.checkpoint(folder.resolve("whole")), Runs.checkpoint(part));
    }

    @Test
    void aLossThatIsNotFiniteStopsBeforeTheUpdate() throws IOException {
        Pipeline pipeline = Runs.with(
                Synthetic.pipeline(new Synthetic.Pull(), new Synthetic.Pull.Settings(13), 96, 3), new BatchSettings(12, 1),
                new CheckpointSettings(1, 0, ""));
        LearningException e = assertThrows(
                LearningException.class, () -> Runs.train(pipeline, folder, false, ProgressListener.SILENT));
        String message = e.getMessage();
        assertTrue(message.startsWith("step 14: the loss of pull is NaN; first not finite: "), message);
        assertTrue(message.toLowerCase(java.util.Locale.ROOT).contains("sqrt"), message);
        assertTrue(message.contains("that of step 8, " + folder.resolve(Trainer.CHECKPOINT)), message);
        assertFalse(message.contains("\n"), message);
        // the last good checkpoint is whole: a run without the fault goes on from it, and says that it is another run
        List<String> warnings = warningsOfResuming(Synthetic.pull(96, 3));
        assertTrue(warnings.stream().anyMatch(w -> w.startsWith("resumed with method.nan_at -1 instead of 13")), warnings.toString());
    }

    @Test
    void aCheckpointFromBeforeASettingExistedResumesAndSaysSo() throws IOException {
        Pipeline pipeline = Synthetic.pull(96, 2);
        Runs.train(pipeline, folder, false, ProgressListener.SILENT);
        Path file = folder.resolve(Trainer.CHECKPOINT);
        Safetensors.Content content = Safetensors.read(file);
        Map<String, String> older = new java.util.LinkedHashMap<>(content.metadata());
        assertEquals("-1", older.remove("method.nan_at"));
        Safetensors.write(file, older, List.copyOf(content.entries().values()));
        assertEquals(
                List.of("resumed with method.nan_at -1, of which the checkpoint says nothing: the result may not be that of one uninterrupted run"),
                warningsOfResuming(pipeline));
    }

    @Test
    void aMethodsFileThatWasEditedIsNoticed() throws IOException {
        Path file = folder.resolve("MyLoss.java");
        String source = Files.readString(Runs.root().resolve("examples/MyLoss.java"));
        for (String edit : List.of("", "", "// another text\n")) {
            SourceMethod method = SourceMethod.compile(Files.writeString(file, source + edit));
            Pipeline pipeline = Synthetic.pipeline(method, new SourceMethod.Settings(), 96, 2);
            if (!Files.exists(folder.resolve(Trainer.CHECKPOINT))) {
                Runs.train(pipeline, folder, false, ProgressListener.SILENT);
            }
            List<String> warnings = warningsOfResuming(pipeline);
            assertEquals(edit.isEmpty() ? 0 : 1, warnings.size(), warnings.toString());
            assertTrue(warnings.stream().allMatch(warning -> warning.startsWith("resumed with method.source ")), warnings.toString());
        }
    }

    private List<String> warningsOfResuming(Pipeline pipeline) {
        List<String> warnings = new java.util.ArrayList<>();
        assertTrue(Runs.train(pipeline, folder, true, new ProgressListener() {
            @Override
            public void warning(String text) {
                warnings.add(text);
            }
        }));
        return warnings;
    }

    @Test
    void aStepAllocatesNothingAfterTheWarmUp() {
        Pipeline pipeline = Synthetic.pull(1200, 10);
        long[] requests = new long[2];
        try (Experiment experiment = Experiment.open(pipeline)) {
            assertTrue(new Trainer(experiment, folder, new ProgressListener() {
                @Override
                public void step(Progress progress) {
                    if (progress.step() == 50) {
                        requests[0] = experiment.device().allocatorRequests();
                    }
                    if (progress.step() == 1000) {
                        requests[1] = experiment.device().allocatorRequests();
                    }
                }
            }).train(false));
        }
        assertTrue(requests[0] > 0);
        assertEquals(requests[0], requests[1]);
    }

    @Test
    void theExampleOfAnOwnMethodLearnsWithoutABuildStep() throws IOException {
        Path file = Runs.root().resolve("examples/MyLoss.java");
        assertTrue(Files.readAllLines(file).size() <= 40);
        SourceMethod method = SourceMethod.compile(file);
        Pipeline pipeline = Synthetic.pipeline(method, new SourceMethod.Settings(), 96, 8);
        assertTrue(Runs.train(pipeline, folder, false, ProgressListener.SILENT));
        List<Map<String, Double>> metrics = Metrics.read(folder);
        assertTrue(metrics.getLast().get("loss") < metrics.getFirst().get("loss") - .1, metrics.getLast().toString());
    }

    @Test
    void theOtherExamplesAndTheGuidesMethodRun() throws IOException {
        String guide = Files.readString(Runs.root().resolve("docs/write-a-method.md"));
        int from = guide.indexOf("```java\n") + "```java\n".length();
        Path twins = Files.writeString(folder.resolve("Twins.java"), guide.substring(from, guide.indexOf("```", from)));
        for (Path file : List.of(twins, Runs.root().resolve("examples/MyTeacher.java"))) {
            Pipeline pipeline = Synthetic.pipeline(SourceMethod.compile(file), new SourceMethod.Settings(), 144, 4);
            assertTrue(Runs.train(pipeline, folder.resolve("example"), false, ProgressListener.SILENT));
            assertTrue(Double.isFinite(Metrics.read(folder.resolve("example")).getLast().get("loss")), file.toString());
        }
    }

    @Test
    void labelsAreForThoseWhoAskAndTensorsThatPileUpAreWarnedOf() throws IOException {
        String source = """
                import dev.gatun.learning.*;
                import dev.gatun.tensor.Tensor;
                class Heap implements Method {
                    dev.gatun.tensor.layer.Encoder encoder;
                    dev.gatun.tensor.layer.State queue;
                    public void build(MethodBuild build) {
                        encoder = build.encoder();
                        queue = build.parameters().state("queue", 1f, 10);
                    }
                    public Tensor loss(dev.gatun.data.Batch batch, Step step) {
                        step.log("labels", batch.labels().length);
                        Tensor old = VALUE.mul(2f).mean();
                        return encoder.forward(step.pass(), batch.views().getFirst().images()).square().mean().add(old);
                    }
                }
                """;
        List<String> warnings = new ArrayList<>();
        ProgressListener listener = new ProgressListener() {
            @Override
            public void warning(String text) {
                warnings.add(text);
            }
        };
        for (String value : List.of("step.pass().use(queue)", "queue.value()")) {
            assertTrue(warnings.isEmpty(), warnings.toString());
            SourceMethod method = SourceMethod.compile(Files.writeString(folder.resolve("Heap.java"), source.replace("VALUE", value)));
            Runs.train(Synthetic.pipeline(method, new SourceMethod.Settings(), 96, 6), folder, false, listener);
            assertEquals(0, Metrics.read(folder).getLast().get("labels"));
        }
        assertEquals(1, warnings.size(), warnings.toString());
        assertTrue(warnings.getFirst().startsWith("every step leaves "), warnings.getFirst());
    }

    @Test
    void badRunsAreOneLine() throws IOException {
        assertMessage("no run to resume", () -> Runs.train(Synthetic.pull(96, 2), folder.resolve("none"), true, ProgressListener.SILENT));
        assertMessage("data.batch: an epoch of 7 samples has no update", () -> Experiment.open(Synthetic.pull(7, 1)));
        Runs.train(Synthetic.pull(96, 2), folder.resolve("run"), false, ProgressListener.SILENT);
        assertMessage(
                "images 96 cannot be resumed with 48",
                () -> Runs.train(Synthetic.pull(48, 2), folder.resolve("run"), true, ProgressListener.SILENT));
        Path file = Files.writeString(folder.resolve("file"), "in the way");
        assertMessage(
                "cannot be created",
                () -> Runs.train(Synthetic.pull(96, 1), file.resolve("run"), false, ProgressListener.SILENT));
    }

    private static void assertMessage(String part, org.junit.jupiter.api.function.Executable body) {
        String message = assertThrows(LearningException.class, body).getMessage();
        assertTrue(message.contains(part), message);
        assertFalse(message.contains("\n"), message);
    }

    @Test
    void theMonitorWarnsOfCollapseUnusedPrototypesAndAStuckLoss() {
        Monitor monitor = new Monitor(30, "softer views");
        List<String> warnings = new ArrayList<>();
        for (int step = 1; step <= 30; step++) {
            warnings.addAll(monitor.take(step, 4.605, Map.of(
                    Step.SPREAD, .02, Step.PROTOTYPES, 100.0, Step.PROTOTYPES_USED, 20.0, Step.UNINFORMED_LOSS, 4.605)));
        }
        assertEquals(3, warnings.size(), warnings.toString());
        assertEquals(
                List.of("epoch 1: the gradient is zero: nothing is learned"),
                new Monitor(1, "").take(1, 3, Map.of("gradient_norm", 0.0)));
        assertTrue(warnings.get(0).contains("collapse"));
        assertTrue(warnings.get(1).contains("only 20 of 100 prototypes"));
        assertTrue(warnings.get(2).endsWith("the loss stays at 4.605, that of a method that predicts nothing is 4.605; try softer views"));
        for (int step = 31; step <= 60; step++) {
            assertEquals(List.of(), monitor.take(step, 4.2, Map.of(
                    Step.SPREAD, .9, Step.PROTOTYPES, 100.0, Step.PROTOTYPES_USED, 95.0, Step.UNINFORMED_LOSS, 4.605)));
        }
    }
}
