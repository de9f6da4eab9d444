// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A step's time is split, and the parts are the whole; here of an experiment of seconds. */
class ProfileTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "emulated"})
    void thePartsOfAStepAreItsTime(String device) throws IOException {
        Path json = folder.resolve("profile.json");
        Path svg = folder.resolve("profile.svg");
        Gatun.Result result = Gatun.here("profile", Tiny.config(folder, 1).toString(), "--device", device, "--steps", "2", "--warm-up", "2",
                "--shapes", "--json", json.toString(), "--svg", svg.toString());
        assertEquals(0, result.status(), result.err());
        JsonNode profile = JsonMapper.builder().build().readTree(Files.readString(json));
        assertEquals(device, profile.path("device").asString());
        assertEquals(16, profile.path("images").asInt());
        double sum = profile.path("waiting_seconds").asDouble() + profile.path("memory_seconds").asDouble() + profile.path("java_seconds").asDouble();
        Set<String> operations = new TreeSet<>();
        for (JsonNode kernel : profile.path("kernels")) {
            sum += kernel.path("seconds").asDouble();
            operations.add(kernel.path("operation").asString());
            assertTrue(kernel.path("calls").asDouble() > 0, kernel.toString());
        }
        assertEquals(profile.path("seconds").asDouble(), sum, 1e-5);
        assertTrue(profile.path("plain_seconds").asDouble() > 0);
        // of views, the network and its gradient, the loss and the update
        assertTrue(operations.containsAll(Set.of("augmentation", "gemm", "convolution_forward", "convolution_backward_weights", "sinkhorn", "optimizer_adamw")),
                operations.toString());
        assertEquals(device.equals("cpu"), profile.path("ceilings").path("flops").asDouble() > 0);
        assertTrue(result.out().contains("images 16×8×8×1"), result.out());
        assertTrue(result.out().lines().anyMatch(line -> line.matches("sum +100\\.0 %.*")), result.out());
        assertTrue(Files.readString(svg).startsWith("<svg"));
    }

    @Test
    void whatCannotBeProfiledIsOneLine() throws IOException {
        Path config = Tiny.config(folder, 1);
        assertEquals(2, Gatun.here("profile", config.toString(), "--steps", "0").status());
        Gatun.here("profile", folder.resolve("none.yaml").toString()).failsInOneLine("none.yaml");
        Gatun.here("profile", config.toString(), "--set", "optimizer.lr=1e30", "--steps", "3").failsInOneLine("is not finite");
    }
}
