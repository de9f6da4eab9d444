// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.checkpoint.Safetensors;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.Summary;
import dev.gatun.primitives.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * {@code precision: bf16} on the emulated device against f32 on the CPU.
 *
 * <p>The bound of a step. Let D be how far a loss or the gradient moves, in f32, when every stored value moves by u = 2⁻⁸ of itself, up or
 * down at random: the root of the mean square of several moves, the effect of one rounding to bf16 in every layer. In bf16 a layer with a
 * weight makes 6 roundings (java/vision's MixedPrecisionTest counts them), independent and as often up as down: √6·D. Three times that is
 * further than chance goes.
 */
class MixedPrecisionTest {
    private static final double BOUND = 3 * Math.sqrt(6);
    private static final double ROUNDING = 0x1p-8;
    private static final int STEPS = 2;
    private static final int SEEDS = 4;
    private static final int MOVES = 6;

    private static final Map<String, String> MODELS = Map.of(
            "convnet", "{name: convnet, widths: [4, 8]}",
            "vit with masks", "{name: vit, patch: 2, width: 16, depth: 2, heads: 2, drop_path: 0.3, drop_path_form: mask}",
            "vit with subsets", "{name: vit, patch: 2, width: 16, depth: 2, heads: 2, drop_path: 0.3, drop_path_form: subset}",
            "shallow vit", "{name: vit, patch: 2, width: 16, depth: 1, heads: 2, drop_path: 0.3, drop_path_form: subset}");

    private static final Map<String, String> METHODS = Map.of(
            "byol", "{name: byol, hidden: [16], output: 8, tau: 0.9}",
            "simclr", "{name: simclr, hidden: [16], output: 8}",
            "deepcluster", "{name: deepcluster, clusters: 8, hidden: 16, components: 4, iterations: 3}",
            "deepcluster_v2", "{name: deepcluster_v2, prototypes: [8], hidden: [16], output: 8, iterations: 3}",
            "cosub", "{name: cosub}",
            "supervised", "{name: supervised}");

    @TempDir
    Path folder;

    private Path config(String model, int steps) throws IOException {
        Path config = Tiny.config(folder, 1, "checkpoint: {every_steps: 1}\n");
        return Files.writeString(config, Files.readString(config)
                .replaceAll("model: .*", "model: " + MODELS.get(model))
                .replace("freeze_steps: 2", "freeze_steps: 0")
                .replace("epochs: 1}\nevaluation", "steps: " + steps + "}\nevaluation"));
    }

    private static Experiment open(Path config, String... settings) {
        return Experiment.open(PipelineReader.read(config, List.of(settings)));
    }

    private static Experiment bf16(Path config) {
        return open(config, "device.name=emulated", "precision=bf16");
    }

    private static double distance(Steps.Result a, Steps.Result b) {
        double sum = 0;
        for (Map.Entry<String, float[]> each : a.gradients().entrySet()) {
            float[] other = b.gradients().get(each.getKey());
            for (int i = 0; i < other.length; i++) {
                sum += Math.pow((double) each.getValue()[i] - other[i], 2);
            }
        }
        return Math.sqrt(sum);
    }

    private static double size(Steps.Result a) {
        return Math.sqrt(a.gradients().values().stream()
                .mapToDouble(values -> {
                    double sum = 0;
                    for (float value : values) {
                        sum += (double) value * value;
                    }
                    return sum;
                })
                .sum());
    }

    private static double bound(List<Steps.Result> moved, ToDoubleFunction<Steps.Result> by) {
        return BOUND * Math.sqrt(moved.stream().mapToDouble(by).map(d -> d * d).average().orElseThrow());
    }

    /** From the states of a run in f32. */
    @ParameterizedTest
    @ValueSource(strings = {"convnet", "vit with masks", "vit with subsets"})
    void everyStepFollowsF32(String model) throws IOException {
        Path config = config(model, STEPS);
        Path states = folder.resolve("states");
        List<Steps.Result> expected;
        List<List<Steps.Result>> moved = new ArrayList<>();
        try (Experiment experiment = open(config)) {
            expected = Steps.train(experiment, folder.resolve("cpu"), states);
            for (int s = 0; s < STEPS; s++) {
                moved.add(new ArrayList<>());
                for (int seed = 0; seed < MOVES; seed++) {
                    moved.get(s).add(Steps.moved(experiment, states.resolve("" + s), folder.resolve("moved"), seed, ROUNDING));
                }
            }
        }
        try (Experiment experiment = bf16(config)) {
            for (int s = 0; s < STEPS; s++) {
                Steps.Result right = expected.get(s);
                Steps.Result found = Steps.one(experiment, states.resolve("" + s), folder.resolve("device"));
                double loss = bound(moved.get(s), m -> m.loss() - right.loss());
                double gradient = bound(moved.get(s), m -> distance(m, right));
                assertEquals(right.loss(), found.loss(), loss, "loss of step " + s);
                assertTrue(distance(right, found) <= gradient,
                        "gradient of step " + s + " is off by " + distance(right, found) + ", more than " + gradient);
                // a loss is not equal by chance, nor a gradient that lacks a part
                assertTrue(loss < .03 * right.loss(), "bound of the loss " + loss);
                assertTrue(gradient < size(right), "bound of the gradient " + gradient + " of " + size(right));
                assertTrue(distance(right, found) > 0);
            }
        }
    }

    /** Free steps drift apart, the more so as AdamW makes a whole step of a small gradient: no further than one deviation of other seeds. */
    @ParameterizedTest
    @ValueSource(strings = {"convnet", "shallow vit"})
    void lossesAreWithinTheNoiseOfF32(String model) throws IOException {
        int steps = 8;
        Path config = config(model, steps);
        List<double[]> f32 = new ArrayList<>();
        for (int seed = 5; seed < 5 + SEEDS; seed++) {
            try (Experiment experiment = open(config, "seed=" + seed)) {
                f32.add(losses(Steps.train(experiment, folder.resolve("cpu"), false, steps)));
            }
        }
        double[] found;
        try (Experiment experiment = bf16(config)) {
            found = losses(Steps.train(experiment, folder.resolve("device"), false, steps));
        }
        double[] means = f32.stream().mapToDouble(run -> Arrays.stream(run).average().orElseThrow()).toArray();
        double all = Arrays.stream(means).average().orElseThrow();
        double deviation = Math.sqrt(Arrays.stream(means).map(m -> (m - all) * (m - all)).sum() / (SEEDS - 1));
        assertEquals(means[0], Arrays.stream(found).average().orElseThrow(), deviation, "mean of the losses");
        assertTrue(deviation < .1 * all, "the seeds' deviation is " + deviation + " of " + all);
    }

    private static double[] losses(List<Steps.Result> run) {
        return run.stream().mapToDouble(Steps.Result::loss).toArray();
    }

    @ParameterizedTest
    @CsvSource({"byol, convnet", "simclr, shallow vit", "deepcluster, convnet", "deepcluster_v2, convnet", "cosub, shallow vit", "supervised, convnet"})
    void everyMethodTrains(String method, String model) throws IOException {
        Path config = config(model, 3);
        Files.writeString(config, Files.readString(config).replaceAll("method: .*", "method: " + METHODS.get(method))
                .replace(", {role: local, count: 1, size: 6}", ""));
        double[] f32;
        try (Experiment experiment = open(config)) {
            f32 = losses(Steps.train(experiment, folder.resolve("cpu"), false, 1));
        }
        try (Experiment experiment = bf16(config)) {
            double[] found = losses(Steps.train(experiment, folder.resolve("device"), false, 3));
            // ten times what SwAV's first losses are off, and far from an error
            assertEquals(f32[0], found[0], .02 * Math.abs(f32[0]));
            assertTrue(found[2] != found[0] && Double.isFinite(found[2]));
        }
    }

    private static List<String> train(Experiment experiment, Path run, boolean resume, long until) {
        List<String> warnings = new ArrayList<>();
        Trainer[] trainer = new Trainer[1];
        trainer[0] = new Trainer(experiment, run, new ProgressListener() {
            @Override
            public void step(Progress progress) {
                if (progress.step() == until) {
                    trainer[0].requestStop();
                }
            }

            @Override
            public void warning(String text) {
                warnings.add(text);
            }
        });
        trainer[0].train(resume);
        return warnings;
    }

    @ParameterizedTest
    @ValueSource(strings = {"convnet", "shallow vit"})
    void aStoppedRunGoesOnToTheSameBytesAndSoDoesOneThatIsNotRecorded(String model) throws IOException {
        Path config = config(model, 4);
        try (Experiment experiment = bf16(config)) {
            train(experiment, folder.resolve("whole"), false, 0);
        }
        try (Experiment experiment = bf16(config)) {
            train(experiment, folder.resolve("part"), false, 2);
        }
        try (Experiment experiment = bf16(config)) {
            train(experiment, folder.resolve("part"), true, 0);
        }
        try (Experiment experiment = open(config, "device.name=emulated", "precision=bf16", "device.capture=false")) {
            train(experiment, folder.resolve("eager"), false, 0);
        }
        Path whole = folder.resolve("whole").resolve(Trainer.CHECKPOINT);
        assertEquals(-1, Files.mismatch(whole, folder.resolve("part").resolve(Trainer.CHECKPOINT)));
        assertEquals(-1, Files.mismatch(whole, folder.resolve("eager").resolve(Trainer.CHECKPOINT)));
    }

    @Test
    void checkpointsAreF32AndGoOnInTheOtherPrecisionWithAWarning() throws IOException {
        Path config = config("convnet", 3);
        Path run = folder.resolve("run");
        try (Experiment experiment = bf16(config)) {
            assertEquals(List.of(), train(experiment, run, false, 1).stream().filter(w -> w.startsWith("resumed")).toList());
        }
        assertTrue(Safetensors.read(run.resolve(Trainer.CHECKPOINT)).entries().values().stream()
                .noneMatch(entry -> entry.dtype() == DType.BF16));
        String[][] turns = {{"cpu", "f32"}, {"emulated", "bf16"}};
        for (int turn = 0; turn < turns.length; turn++) {
            String device = turns[turn][0];
            String precision = turns[turn][1];
            try (Experiment experiment = open(config, "device.name=" + device, "precision=" + precision)) {
                List<String> warnings = train(experiment, run, true, 2 + turn);
                String expected = "resumed with precision " + precision + " instead of " + turns[1 - turn][1]
                        + ": the result is not that of one uninterrupted run";
                assertTrue(warnings.contains(expected), warnings.toString());
            }
        }
    }

    @Test
    void theRunSaysItsPrecision() throws IOException {
        Path run = folder.resolve("run");
        Path config = config("convnet", 2);
        Gatun.Result result = Gatun.here(
                "pretrain", config.toString(), "--out", run.toString(), "--device", "emulated", "--set", "precision=bf16");
        assertEquals(0, result.status(), result.err());
        JsonNode summary = JsonMapper.builder().build().readTree(Files.readString(run.resolve(Summary.FILE)));
        assertEquals("bf16", summary.path("precision").asString());
        assertTrue(summary.path("scores").path("trained").path("knn").asDouble() > 0, summary.toString());
        assertTrue(Files.readString(run.resolve("report.html")).contains("bf16"));
        assertFalse(Files.readString(run.resolve(Trainer.CONFIG)).contains("precision: f32"));
        Gatun.here("pretrain", config.toString(), "--out", run.toString(), "--set", "precision=bf16")
                .failsInOneLine("precision: the cpu computes in f32; bf16 is for the devices cuda and emulated");
    }
}
