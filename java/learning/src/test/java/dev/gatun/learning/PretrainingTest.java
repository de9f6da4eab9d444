// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.evaluation.Classification;
import dev.gatun.learning.evaluation.Evaluation;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import dev.gatun.learning.evaluation.Floors;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.Report;
import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;

class PretrainingTest {
    private static final String CONFIG = """
            version: 1
            seed: 3
            device: {threads: 1}
            data: {name: synthetic, images: 96, batch: 12}
            views: {name: noise}
            model: {name: matrix}
            method: {name: pull}
            optimizer: {name: adamw}
            schedule: {epochs: 3}
            """;

    @TempDir
    Path folder;

    @Test
    void aRunsFolderHoldsEverythingAndReproducesTheRun() throws IOException {
        Path run = folder.resolve("run");
        Pipeline pipeline = PipelineReader.parse(CONFIG, "some.yaml", List.of(), null);
        Optional<Summary> summary = new Pretraining(pipeline, run, ProgressListener.SILENT).run(false);
        assertTrue(summary.isPresent());
        Map<?, ?> json = JsonMapper.builder().build().readValue(Files.readString(run.resolve(Summary.FILE)), Map.class);
        for (String key : List.of(
                "method", "device", "threads", "images", "epochs", "seconds_train", "images_per_second", "loss_first",
                "loss_last", "loss_epoch1_last20", "scores", "seed", "version", "peak_memory_bytes")) {
            assertTrue(json.containsKey(key), key + " in " + json);
        }
        assertEquals("pull", json.get("method"));
        assertEquals(List.of("pixels", "random", "trained"), List.copyOf(((Map<?, ?>) json.get("scores")).keySet()));
        assertTrue(Files.readString(run.resolve(Report.FILE)).contains("Nearest neighbours"));

        // the resolved file is the same experiment
        Path again = folder.resolve("again");
        new Pretraining(PipelineReader.read(run.resolve(Trainer.CONFIG), List.of()), again, ProgressListener.SILENT).run(false);
        assertEquals(-1, Files.mismatch(run.resolve(Trainer.CHECKPOINT), again.resolve(Trainer.CHECKPOINT)));
        assertEquals(-1, Files.mismatch(run.resolve(Pretraining.BACKBONE), again.resolve(Pretraining.BACKBONE)));

        // and its checkpoint scores the same as the run did
        Map<String, Scores> scores = Pretraining.evaluate(run, List.of("evaluation.features=[trained]"), ProgressListener.SILENT);
        Map<?, ?> trained = (Map<?, ?>) ((Map<?, ?>) json.get("scores")).get("trained");
        assertEquals(((Number) trained.get("linear")).doubleValue(), scores.get("trained").linear(), .005);

        assertEquals(60, Pretraining.embed(run, List.of(), "test", folder.resolve("x.npy"), ProgressListener.SILENT));
        assertEquals(128 + 60 * 8 * 4, Files.size(folder.resolve("x.npy")));
        assertEquals(60, Files.readAllLines(folder.resolve("x.labels.txt")).size());

        // what is embedded may be less than a batch
        List<String> few = List.of("data.images=5");
        assertTrue(Pretraining.embed(run, few, "train", folder.resolve("y.npy"), ProgressListener.SILENT) > 0);
        assertLine("an epoch of 5 samples has no update",
                () -> Experiment.open(PipelineReader.read(run.resolve(Trainer.CONFIG), few)));
    }

    @Test
    void anEvaluationMayUseFewerImages() {
        List<String> set = List.of("evaluation.images=30", "evaluation.features=[pixels]");
        try (Experiment some = Experiment.open(PipelineReader.parse(CONFIG, "some.yaml", set, null));
                Experiment all = Experiment.open(PipelineReader.parse(CONFIG, "some.yaml", set.subList(1, 2), null))) {
            long[] done = new long[1];
            ProgressListener listener = new ProgressListener() {
                @Override
                public void advanced(long images) {
                    done[0] = images;
                }
            };
            Evaluation.run(some, new Floors(), listener);
            assertEquals(2 * 30, done[0]);
            assertTrue(Evaluation.protocol(some).contains("of 30 training images"), Evaluation.protocol(some));
            Evaluation.run(all, new Floors(), listener);
            assertEquals(all.data().train().size() + 60, done[0]);
        }
        assertLine("evaluation: images: expected a positive number, or 0 for all, got -1",
                () -> PipelineReader.parse(CONFIG, "some.yaml", List.of("evaluation.images=-1"), null));
    }

    @Test
    void aBackboneIsLoadedIntoANewRun() {
        Path run = folder.resolve("run");
        new Pretraining(PipelineReader.parse(CONFIG, "some.yaml", List.of(), null), run, ProgressListener.SILENT).run(false);
        List<String> set = List.of("checkpoint.backbone=" + run.resolve(Pretraining.BACKBONE));
        try (Experiment fresh = Experiment.open(PipelineReader.parse(CONFIG, "some.yaml", List.of(), null));
                Experiment trained = Pretraining.restore(run, List.of());
                Experiment started = Experiment.open(PipelineReader.parse(CONFIG, "some.yaml", set, null))) {
            float[] weights = started.parameters().values().toArray();
            assertEquals(trained.parameters().values().toArray()[0], weights[0]);
            assertFalse(fresh.parameters().values().toArray()[0] == weights[0]);
        }
        assertLine("of another architecture", () -> Experiment.open(PipelineReader.parse(
                CONFIG.replace("{name: matrix}", "{name: matrix, width: 9}"), "some.yaml", set, null)));
    }

    @Test
    void whatIsNotARunIsOneLine() {
        Pipeline pipeline = PipelineReader.parse(CONFIG, "some.yaml", List.of(), null);
        assertLine("no run to resume", () -> new Pretraining(pipeline, folder, ProgressListener.SILENT).run(true));
        assertLine("not a run's folder", () -> Pretraining.restore(folder, List.of()));
        assertLine("embed: no part dev", () -> {
            new Pretraining(pipeline, folder, ProgressListener.SILENT).run(false);
            Pretraining.embed(folder, List.of(), "dev", folder.resolve("x.npy"), ProgressListener.SILENT);
        });
    }

    private static void assertLine(String part, org.junit.jupiter.api.function.Executable body) {
        String message = assertThrows(LearningException.class, body).getMessage();
        assertTrue(message.contains(part), message);
        assertFalse(message.contains("\n"), message);
    }

    @Test
    void floorsAreScoredOnceWhereTheyAreEqual() {
        Floors floors = new Floors();
        Map<String, Scores> first = scores(floors, List.of());
        assertEquals(2, floors.known().size());
        Map<String, Scores> again = scores(floors, List.of("method.nan_at=-2", "data.batch=16"));
        assertEquals(2, floors.known().size());
        assertSame(first.get("pixels"), again.get("pixels"));
        assertSame(first.get("random"), again.get("random"));
        // another seed is another untrained encoder; another width too
        assertSame(first.get("pixels"), scores(floors, List.of("seed=4")).get("pixels"));
        assertEquals(3, floors.known().size());
        scores(floors, List.of("model.width=5"));
        assertEquals(4, floors.known().size());
        // other data or another protocol share nothing
        scores(floors, List.of("data.images=48"));
        assertEquals(6, floors.known().size());
        scores(floors, List.of("evaluation.neighbours=3"));
        assertEquals(8, floors.known().size());
    }

    private static Map<String, Scores> scores(Floors floors, List<String> settings) {
        try (Experiment experiment = Experiment.open(PipelineReader.parse(CONFIG, "some.yaml", settings, null))) {
            return Evaluation.run(experiment, floors, ProgressListener.SILENT);
        }
    }

    @Test
    void aClassifierIsScoredByItsOwnPredictionsToo() throws IOException {
        Path run = folder.resolve("run");
        Pipeline pipeline = PipelineReader.parse(CONFIG, "some.yaml", List.of("schedule.epochs=12"), "supervised");
        Summary summary = new Pretraining(pipeline, run, ProgressListener.SILENT).run(false).orElseThrow();
        double accuracy = summary.number("test_accuracy");
        assertTrue(accuracy > 60 && accuracy <= 100, summary.values().toString());
        assertTrue(summary.number("test_loss") < Math.log(3), summary.values().toString());
        assertTrue(summary.number("scores", "trained", "knn") > 0);
        assertEquals(Math.log(3), summary.number(Step.UNINFORMED_LOSS), 1e-9);
        assertEquals(summary.toJson(), Summary.read(run).toJson());
        String page = Files.readString(run.resolve(Report.FILE));
        assertTrue(page.contains("accuracy, test images") && page.contains("bars taken for bars: "), "tile and matrix");

        // the checkpoint predicts the same
        try (Experiment experiment = Pretraining.restore(run, List.of())) {
            Classification found = Classification.of(experiment, ProgressListener.SILENT).orElseThrow();
            assertEquals(accuracy, found.accuracy(), .005);
            assertEquals(60, Arrays.stream(found.confusion()).flatMapToInt(Arrays::stream).sum());
        }
    }
}
