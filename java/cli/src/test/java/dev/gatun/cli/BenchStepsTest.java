// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Whole steps are timed; here with everything small. */
class BenchStepsTest {
    private static final List<String> SMALL = List.of(
            "precision=f32", "device.threads=1", "data.shape=[24,24,3]", "data.batch=4", "views.crops.0.size=16");

    @TempDir
    Path folder;

    private static Path config(String name) {
        Path root = Path.of("").toAbsolutePath();
        while (!Files.isDirectory(root.resolve("configs"))) {
            root = root.getParent();
        }
        return root.resolve("configs/steps/" + name + ".yaml");
    }

    private static List<String> small(String name) {
        List<String> settings = new ArrayList<>(SMALL);
        if (name.equals("resnet50")) {
            settings.addAll(List.of("model.depths=[1,1]", "model.widths=[8,8]", "data.classes=5"));
        } else {
            settings.addAll(List.of("model.depth=1", "model.width=16", "model.heads=2", "model.patch=8"));
            settings.addAll(name.startsWith("swav")
                    ? List.of("views.crops.1.size=8", "views.crops.1.count=1", "method.prototypes=8", "method.hidden=[16]", "method.output=8")
                    : List.of("data.classes=5"));
        }
        return settings;
    }

    private static Gatun.Result bench(String name, String... more) {
        List<String> line = new ArrayList<>(List.of("bench-steps", config(name).toString()));
        small(name).forEach(setting -> line.addAll(List.of("--set", setting)));
        line.addAll(List.of(more));
        return Gatun.here(line.toArray(String[]::new));
    }

    private static JsonNode read(Path file) throws IOException {
        return JsonMapper.builder().build().readTree(Files.readString(file));
    }

    @ParameterizedTest
    @CsvSource({"swav-vit-s16, f32", "swav-vit-s16, bf16", "vit-s16-drop-path-mask, f32", "vit-s16-drop-path-subset, bf16", "resnet50, bf16"})
    void aStepIsTimedOnTheEmulatedDevice(String name, String precision) throws IOException {
        Path json = folder.resolve("steps.json");
        Gatun.Result result = bench(name, "--device", "emulated", "--set", "precision=" + precision, "--steps", "2", "--warm-up", "2", "--json", json.toString());
        assertEquals(0, result.status(), result.err());
        assertTrue(result.out().contains(name + " " + precision + " batch 4"), result.out());
        JsonNode document = read(json);
        assertEquals("emulated", document.path("device").asString());
        assertEquals(0, document.path("failed").size());
        List<String> forms = new ArrayList<>();
        for (JsonNode row : document.path("steps")) {
            forms.add(row.path("form").asString());
            // what the device does is a part of the step
            assertTrue(row.path("busy_seconds").asDouble() > 0, row.toString());
            assertEquals(4, row.path("batch").asInt());
            assertTrue(row.path("seconds").asDouble() > 0, row.toString());
            assertEquals(4 / row.path("seconds").asDouble(), row.path("images_per_second").asDouble(), 1e-9);
            // more than the parameters, their gradients and the optimizer's state
            assertTrue(row.path("peak_bytes").asLong() > 10_000, row.toString());
        }
        assertEquals(List.of("captured", "eager"), forms);
    }

    @Test
    void aPeerStandsBeside() throws IOException {
        Path torch = Files.writeString(folder.resolve("torch.json"), """
                {"steps": [{"step": "resnet50", "precision": "f32", "form": "eager", "batch": 2, "largest": false, "seconds": 1e-9, "peak_bytes": 1},
                           {"step": "resnet50", "precision": "f32", "form": "compile default", "batch": 64, "largest": false, "seconds": 1, "peak_bytes": 1}]}
                """);
        Path json = folder.resolve("ours.json");
        Gatun.Result result = bench(
                "resnet50", "--steps", "1", "--warm-up", "2", "--batch", "2", "--json", json.toString(), "--compare", torch.toString());
        assertEquals(0, result.status(), result.err());
        // the same table later, without timing again
        assertEquals(result.out(), Gatun.here("bench-steps", "--timed", json.toString(), "--compare", torch.toString()).out());
        assertTrue(result.out().lines().anyMatch(line -> line.matches("resnet50 f32 batch 2 .*1\\.00 ns, 2000000000 images/s.*")), result.out());
        assertTrue(result.out().lines().anyMatch(line -> line.matches("resnet50 f32 batch 64 +not measured +not measured +not measured .*\\(default\\)")),
                result.out());
        assertTrue(result.out().contains("captured / torch.compile >= 1.3"), result.out());
    }

    @Test
    void theLargestBatchIsDoubledUntilMemoryIsFull() throws IOException {
        Path json = folder.resolve("steps.json");
        Gatun.Result result = bench("resnet50", "--steps", "1", "--warm-up", "2", "--batch", "largest", "--set", "device.memory_mib=1",
                "--json", json.toString());
        assertEquals(0, result.status(), result.err());
        JsonNode row = read(json).path("steps").path(0);
        int batch = row.path("batch").asInt();
        assertTrue(row.path("largest").asBoolean() && batch >= 8 && Integer.bitCount(batch) == 1, row.toString());
        // what the next batch lacked is said; this one takes less than the limit, and not so little that its double would surely fit
        assertTrue(result.err().contains("resnet50 eager, batch " + 2 * batch + ": "), result.err());
        assertTrue(row.path("peak_bytes").asLong() < 1 << 20, row.toString());
        assertTrue(row.path("peak_bytes").asLong() > 1 << 18, row.toString());
        assertTrue(result.out().contains("resnet50 f32 largest batch  " + batch + ": "), result.out());
    }

    @Test
    void thePeersGetTheWholePipeline() throws IOException {
        Gatun.Result result = bench("swav-vit-s16", "--list", "--set", "data.batch=32");
        assertEquals(0, result.status(), result.err());
        JsonNode one = JsonMapper.builder().build().readTree(result.out()).path(0);
        assertEquals("swav-vit-s16", one.path("step").asString());
        assertEquals(32, one.path("pipeline").path("data").path("batch").asInt());
        assertEquals(.05, one.path("pipeline").path("method").path("epsilon").asDouble(), 1e-6);
        assertEquals("adamw", one.path("pipeline").path("optimizer").path("name").asString());
    }

    @Test
    void whatCannotBeTimedIsOneLine() {
        bench("resnet50", "--batch", "largest").failsInOneLine("--batch largest", "a CPU has no memory of its own");
        Gatun.Result wrong = bench("resnet50", "--batch", "many");
        assertEquals(2, wrong.status());
        assertTrue(wrong.err().contains("--batch: many is neither a number nor largest"), wrong.err());
        bench("resnet50", "--compare", folder.resolve("none.json").toString()).failsInOneLine("none.json");
        assertTrue(Gatun.here("bench-steps").err().contains("which pipeline files?"));
        assertTrue(bench("resnet50", "--form", "graph").err().contains("--form: graph is none of captured, eager"));
        bench("resnet50", "--steps", "0").failsInOneLine("steps");
    }
}
