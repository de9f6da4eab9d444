// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.pipeline.Methods;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.Report;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The commands {@code methods} and {@code train}. */
class MethodsTest {
    @TempDir
    Path folder;

    private static Path root() {
        Path root = Path.of("").toAbsolutePath();
        while (!Files.exists(root.resolve("examples/MyLoss.java"))) {
            root = root.getParent();
        }
        return root;
    }

    @Test
    void everyMethodHasALineThatFitsAndAPipelineFileOfItsOwn() {
        Gatun.Result result = Gatun.here("methods");
        assertEquals(0, result.status(), result.err());
        List<String> lines = result.out().lines().toList();
        assertEquals(Methods.all().size() + 1, lines.size(), result.out());
        assertTrue(lines.stream().allMatch(line -> line.length() < 120), result.out());
        for (MethodProvider method : Methods.all()) {
            String line = lines.stream().filter(each -> each.startsWith(method.name() + " ")).findFirst().orElseThrow();
            assertTrue(line.contains(" " + method.citation() + "  ") && line.contains(" " + method.needs() + " "), line);
            Path config = root().resolve("configs").resolve(method.config());
            assertTrue(line.endsWith("configs/" + method.config()), line);
            assertEquals(method.name(), PipelineReader.read(config, List.of()).method().name());
        }
        assertTrue(lines.stream().anyMatch(line -> line.matches("supervised .* labels .* train configs/.*")), result.out());
        assertTrue(lines.stream().anyMatch(line -> line.matches("swav .* pretrain configs/.*")), result.out());
    }

    @Test
    void oneMethodIsShownWithItsDefaults() {
        Gatun.Result swav = Gatun.here("methods", "swav");
        assertEquals(0, swav.status(), swav.err());
        assertTrue(swav.out().contains("Cluster Assignments, 2020"), swav.out());
        assertTrue(swav.out().matches("(?s).*\\R  prototypes +3000\\R  hidden +\\[2048\\]\\R.*  epsilon +0.05\\R.*"), swav.out());
        Path example = root().resolve("examples/MyLoss.java");
        Gatun.Result own = Gatun.here("methods", example.toString());
        assertEquals(0, own.status(), own.err());
        assertTrue(own.out().contains("gatun pretrain configs/fashion-mnist-swav.yaml --method " + example), own.out());
        Gatun.here("methods", "nothing").failsInOneLine("unknown method nothing; known methods: ", "swav");
    }

    @Test
    void trainEndsWithTheClassifiersOwnAccuracy() throws IOException {
        Path config = Tiny.config(folder, 5);
        Path run = folder.resolve("run");
        String[] command = {"train", config.toString(), "--method", "supervised", "--out", run.toString(), "--set", "optimizer.lr=0.01", "--set",
            "evaluation.features=[trained]"};
        Gatun.Result result = Gatun.here(command);
        assertEquals(0, result.status(), result.err());
        JsonNode summary = JsonMapper.builder().build().readTree(Files.readString(run.resolve("summary.json")));
        double accuracy = summary.path("test_accuracy").asDouble();
        assertTrue(accuracy > 50 && accuracy <= 100, summary.toString());
        assertTrue(result.out().contains(String.format(Locale.ROOT, "accuracy %.2f %% of the test images", accuracy)), result.out());
        assertTrue(summary.path("scores").path("trained").path("knn").isNumber(), summary.toString());
        assertTrue(Files.readString(run.resolve(Report.FILE)).contains("<h2>Predictions</h2>"));

        // complete: a resumed run only looks again, and sees the same
        Gatun.Result resumed = Gatun.here("train", "--resume", "--out", run.toString());
        assertEquals(0, resumed.status(), resumed.err());
        assertTrue(resumed.out().contains(String.format(Locale.ROOT, "accuracy %.2f %%", accuracy)), resumed.out());

        command[3] = "swav";
        Gatun.here(command).failsInOneLine("train: method swav predicts no classes; gatun pretrain");
    }
}
