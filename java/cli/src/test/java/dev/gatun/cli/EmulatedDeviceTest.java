// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.Metrics;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Whole runs on the emulated device: what their folder holds, and that they go on where they were killed. */
class EmulatedDeviceTest {
    @TempDir
    Path folder;

    @Test
    void aRunEndsWithScoresAndAReport() throws IOException {
        Path run = folder.resolve("run");
        Gatun.Result result = Gatun.here(
                "pretrain", Tiny.config(folder, 1).toString(), "--out", run.toString(), "--device", "emulated");
        assertEquals(0, result.status(), result.err());
        JsonNode summary = JsonMapper.builder().build().readTree(Files.readString(run.resolve(Summary.FILE)));
        assertEquals("emulated", summary.path("device").asString());
        assertEquals("f32", summary.path("precision").asString());
        // an update is computed first to see whether the next can be recorded: the first, and the first after the prototypes' freeze
        assertEquals(Tiny.TRAIN / 16 - 2, summary.path("launched_updates").asInt(), summary.toString());
        assertTrue(summary.path("scores").path("trained").path("knn").asDouble() > 0, summary.toString());
        assertTrue(Files.readString(run.resolve("report.html")).contains("emulated"));
    }

    private static Experiment open(Path config, String device) {
        return Experiment.open(PipelineReader.read(config, List.of("device.name=" + device, "checkpoint.every_steps=4")));
    }

    private static void train(Path config, String device, Path run, boolean resume, ProgressListener listener) {
        try (Experiment experiment = open(config, device)) {
            assertTrue(new Trainer(experiment, run, listener).train(resume));
        }
    }

    private static List<Map<String, Double>> metrics(Path run) {
        List<Map<String, Double>> lines = Metrics.read(run);
        lines.forEach(line -> line.keySet().removeAll(List.of("seconds", "seconds_waiting", "images_per_second")));
        return lines;
    }

    private Path config(String model) throws IOException {
        Path config = Tiny.config(folder, 1);
        return Files.writeString(config, Files.readString(config)
                .replace("batch: 16", "batch: 8, accumulate: 2")
                .replace("output: 8", "output: 8, queue: 16, queue_start_epoch: 0")
                .replaceAll("model: .*", "model: " + model));
    }

    /** Stops like a kill: after a step, before its checkpoint. */
    private static ProgressListener killedAfter(long step) {
        return new ProgressListener() {
            @Override
            public void step(Progress progress) {
                if (progress.step() == step) {
                    throw new IllegalStateException("killed");
                }
            }
        };
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{name: convnet, widths: [4, 8]}",
        "{name: vit, patch: 2, width: 16, depth: 1, heads: 2, drop_path: 0.3, drop_path_form: mask}",
        "{name: vit, patch: 2, width: 16, depth: 1, heads: 2, drop_path: 0.3, drop_path_form: subset}"
    })
    void aKilledRunGoesOnToTheSameBytes(String model) throws IOException {
        Path config = config(model);
        train(config, "emulated", folder.resolve("whole"), false, ProgressListener.SILENT);
        Path part = folder.resolve("part");
        boolean resume = false;
        // before the first checkpoint but that of the start, and after it
        for (long step : new long[] {2, 5}) {
            boolean begun = resume;
            assertThrows(IllegalStateException.class, () -> train(config, "emulated", part, begun, killedAfter(step)));
            resume = true;
        }
        train(config, "emulated", part, true, ProgressListener.SILENT);
        assertEquals(-1, Files.mismatch(folder.resolve("whole").resolve(Trainer.CHECKPOINT), part.resolve(Trainer.CHECKPOINT)));
        assertEquals(metrics(folder.resolve("whole")), metrics(part));
        assertEquals(Tiny.TRAIN / 16, metrics(part).size());
    }

    /** CUDA may do what it is told at any time before somebody waits for it. */
    @ParameterizedTest
    @ValueSource(strings = {"first", "others", "all"})
    void nothingDependsOnWhenStreamsWork(String late) throws IOException {
        Path config = config("{name: convnet, widths: [4, 8]}");
        train(config, "emulated", folder.resolve("prompt"), false, ProgressListener.SILENT);
        System.setProperty("gatun.emulated.late", late);
        try {
            train(config, "emulated", folder.resolve("late"), false, ProgressListener.SILENT);
        } finally {
            System.clearProperty("gatun.emulated.late");
        }
        assertEquals(-1, Files.mismatch(folder.resolve("prompt").resolve(Trainer.CHECKPOINT), folder.resolve("late").resolve(Trainer.CHECKPOINT)));
        assertEquals(metrics(folder.resolve("prompt")), metrics(folder.resolve("late")));
    }

    @Test
    void anotherDeviceGoesOnWithAWarning() throws IOException {
        Path config = config("{name: convnet, widths: [4, 8]}");
        Path run = folder.resolve("run");
        assertThrows(IllegalStateException.class, () -> train(config, "emulated", run, false, killedAfter(5)));
        List<String> warnings = new ArrayList<>();
        train(config, "cpu", run, true, new ProgressListener() {
            @Override
            public void warning(String text) {
                warnings.add(text);
            }
        });
        assertEquals(
                List.of("resumed with device cpu instead of emulated: the result is not that of one uninterrupted run"),
                warnings.stream().filter(each -> each.startsWith("resumed")).toList());
        assertEquals(Tiny.TRAIN / 16, metrics(run).size());
    }
}
