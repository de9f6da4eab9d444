// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.pipeline.PipelineReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The same experiment, and the same code, on the CUDA kernels: what a training step computes is what the CPU computes, within
 * rounding.
 *
 * <p>The bound of a step. Let D be how far a loss or a gradient moves when every stored value (weights, statistics) moves by one
 * ulp: the effect, with the amplification of everything behind it, of one rounding in every layer, measured on the CPU as the largest
 * of several random moves. A layer does more than one rounding: its sums have up to n terms, and the roundings of the partial sums
 * of n terms behave like √n of one term (a random walk; Higham and Mary, 2019). So each device is within √n·D of exact
 * arithmetic, and the two are within 2√n·D of each other. n is the longest sum of the step: that of a weight's gradient over all rows.
 * For these experiments that is a ten-thousandth of the gradient; what was seen is 2·D.
 */
class EmulatedTrainingTest {
    private static final int BATCH = 8;
    private static final int STEPS = 10;
    private static final int MOVES = 4;

    // a bound above this part of the gradient would see little
    private static final double SHARP = 1e-3;

    private static final Map<String, String> MODELS = Map.of(
            "convnet", "{name: convnet, widths: [4, 8]}",
            "resnet", "{name: resnet, depths: [1, 1], widths: [8, 8], stem: small, drop_path: 0.3, drop_path_form: subset}",
            "vit with masks", vit("mask"),
            "vit with subsets", vit("subset"));

    private static final Map<String, String> METHODS = Map.of(
            "swav", "{name: swav, prototypes: 8, hidden: [16], output: 8, freeze_epochs: 0, freeze_steps: 0}",
            "byol", "{name: byol, hidden: [16], output: 8, tau: 0.9}",
            "simclr", "{name: simclr, hidden: [16], output: 8}",
            "deepcluster", "{name: deepcluster, clusters: 8, hidden: 16, components: 4, iterations: 3}",
            "deepcluster_v2", "{name: deepcluster_v2, prototypes: [8], hidden: [16], output: 8, iterations: 3}",
            "cosub", "{name: cosub}",
            "supervised", "{name: supervised}");

    @TempDir
    Path folder;

    private static String vit(String form) {
        return "{name: vit, patch: 2, width: 16, depth: 2, heads: 2, drop_path: 0.3, drop_path_form: " + form + "}";
    }

    private Path config(String method, String model, int steps) throws IOException {
        Path config = Tiny.config(folder, 1, "checkpoint: {every_steps: 1}\n");
        return Files.writeString(config, Files.readString(config)
                .replace(", {role: local, count: 1, size: 6}", method.equals("swav") ? ", {role: local, count: 1, size: 6}" : "")
                .replace("batch: 16", "batch: " + BATCH)
                .replaceAll("model: .*", "model: " + MODELS.get(model))
                .replaceAll("method: .*", "method: " + METHODS.get(method))
                .replace("epochs: 1}\nevaluation", "steps: " + steps + "}\nevaluation"));
    }

    /** 2√n: n are the rows of two views of a batch, 8x8 positions each (in the ResNet's stem), or 4x4 and a class token. */
    private static double roundings(String model) {
        return 2 * Math.sqrt(2 * BATCH * (model.equals("resnet") ? 8 * 8 : 4 * 4 + 1));
    }

    private static Experiment open(Path config, String device) {
        return Experiment.open(PipelineReader.read(config, List.of("device.name=" + device)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"convnet", "vit with masks", "vit with subsets"})
    void everyStepFollowsTheCpu(String model) throws IOException {
        assertStepsFollow(config("swav", model, STEPS), STEPS, roundings(model));
    }

    @ParameterizedTest
    @CsvSource({
        "byol, convnet", "byol, vit with masks", "simclr, resnet", "deepcluster, convnet", "deepcluster_v2, vit with subsets",
        "cosub, vit with subsets", "supervised, resnet", "supervised, vit with masks"
    })
    void theStepsOfEveryMethodFollowTheCpu(String method, String model) throws IOException {
        assertStepsFollow(config(method, model, 3), 3, roundings(model));
    }

    /** Trains on the CPU, and computes each of its steps again from where it started: moved by an ulp, and on the device. */
    private void assertStepsFollow(Path config, int steps, double roundings) throws IOException {
        Path states = folder.resolve("states");
        List<Steps.Result> expected;
        List<Bound> bounds = new ArrayList<>();
        try (Experiment experiment = open(config, "cpu")) {
            expected = Steps.train(experiment, folder.resolve("cpu"), states);
            assertEquals(steps, expected.size());
            for (int s = 0; s < steps; s++) {
                List<Steps.Result> moved = new ArrayList<>();
                for (int seed = 0; seed < MOVES; seed++) {
                    moved.add(Steps.moved(experiment, state(states, s), folder.resolve("moved"), seed));
                }
                bounds.add(Bound.of(expected.get(s), moved, roundings));
            }
        }
        try (Experiment experiment = open(config, "emulated")) {
            for (int s = 0; s < steps; s++) {
                Steps.Result found = Steps.one(experiment, state(states, s), folder.resolve("device"));
                assertEquals(Optional.empty(), bounds.get(s).exceeded(expected.get(s), found), "step " + s);
                bounds.get(s).assertSharp(expected.get(s), found);
            }
        }
    }

    private static Path state(Path states, int step) {
        return states.resolve(Integer.toString(step));
    }

    @ParameterizedTest
    @ValueSource(strings = {"convnet", "vit with masks", "vit with subsets"})
    void tenStepsStayAmongThoseOfTheCpu(String model) throws IOException {
        Path config = config("swav", model, STEPS);
        List<List<Steps.Result>> cpu = new ArrayList<>();
        for (int seed = -1; seed < 2 * MOVES; seed++) {
            try (Experiment experiment = open(config, "cpu")) {
                if (seed >= 0) {
                    Steps.move(experiment.parameters(), seed);
                }
                cpu.add(Steps.train(experiment, folder.resolve("cpu"), false, STEPS));
            }
        }
        List<Steps.Result> device;
        try (Experiment experiment = open(config, "emulated")) {
            device = Steps.train(experiment, folder.resolve("device"), false, STEPS);
        }
        assertEquals(STEPS, device.size());
        double spread = 0;
        for (int s = 0; s < STEPS; s++) {
            int step = s;
            double[] losses = cpu.stream().mapToDouble(run -> run.get(step).loss()).sorted().toArray();
            // what has diverged stays so, whatever one step's losses happen to show
            spread = Math.max(spread, losses[losses.length - 1] - losses[0]);
            assertEquals(cpu.getFirst().get(s).loss(), device.get(s).loss(), 2 * spread, "loss of step " + s);
            assertTrue(spread > 0 && spread < SHARP * losses[0], "spread " + spread);
        }
    }

    /** How far a step may be from the CPU's. */
    private record Bound(double loss, Map<String, Double> gradients) {
        static Bound of(Steps.Result expected, List<Steps.Result> moved, double roundings) {
            double loss = moved.stream().mapToDouble(m -> Math.abs(m.loss() - expected.loss())).max().orElseThrow();
            Map<String, Double> gradients = new LinkedHashMap<>();
            expected.gradients().forEach((name, values) -> gradients.put(name, roundings * moved.stream()
                    .mapToDouble(m -> distance(values, m.gradients().get(name))).max().orElseThrow()));
            // the loss itself is stored once more on each side
            return new Bound(roundings * loss + Math.ulp((float) expected.loss()), gradients);
        }

        /** The first value that is too far. */
        Optional<String> exceeded(Steps.Result expected, Steps.Result found) {
            if (!(Math.abs(found.loss() - expected.loss()) <= loss)) {
                return Optional.of("loss " + found.loss() + " and not " + expected.loss() + " within " + loss);
            }
            return gradients.entrySet().stream()
                    .filter(g -> !(distance(expected.gradients().get(g.getKey()), found.gradients().get(g.getKey())) <= g.getValue()))
                    .map(g -> "gradient of " + g.getKey() + " differs by "
                            + distance(expected.gradients().get(g.getKey()), found.gradients().get(g.getKey()))
                            + ", more than " + g.getValue())
                    .findFirst();
        }

        /** Fails if the bound would let a wrong step pass. */
        void assertSharp(Steps.Result expected, Steps.Result found) {
            assertTrue(loss < SHARP * expected.loss(), "bound of the loss " + loss);
            double allowed = 0;
            double size = 0;
            for (Map.Entry<String, float[]> gradient : found.gradients().entrySet()) {
                String name = gradient.getKey();
                float[] values = gradient.getValue();
                allowed += gradients.get(name);
                size += distance(values, new float[values.length]);
                float right = values[values.length / 2];
                values[values.length / 2] += (float) (4 * gradients.get(name));
                assertFalse(values[values.length / 2] != right && exceeded(expected, found).isEmpty(), name + " may be anything");
                values[values.length / 2] = right;
            }
            assertTrue(allowed < SHARP * size, "bounds of " + allowed + " for gradients of " + size);
        }
    }

    private static double distance(float[] a, float[] b) {
        double distance = 0;
        for (int i = 0; i < a.length; i++) {
            double d = Math.abs((double) a[i] - b[i]);
            // not Math.max alone: a NaN must not be near anything
            distance = d > distance || Double.isNaN(d) ? d : distance;
        }
        return distance;
    }
}
