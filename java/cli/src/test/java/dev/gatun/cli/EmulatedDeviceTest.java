// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/** The same experiment, and the same code, on the CUDA kernels. */
class EmulatedDeviceTest {
    private static final ObjectMapper JSON = JsonMapper.builder().build();

    // Rounding differs between the devices and a step multiplies it; twelve such steps stayed below a hundredth of it.
    private static final double DRIFT = 1e-4;

    @TempDir
    Path folder;

    @Test
    void aTrainingFollowsTheCpu() throws IOException {
        Path config = Tiny.config(folder, 2);
        List<Double> cpu = losses(config, "cpu");
        List<Double> emulated = losses(config, "emulated");
        assertEquals(2 * Tiny.TRAIN / 16, cpu.size());
        assertEquals(cpu.size(), emulated.size());
        for (int step = 0; step < cpu.size(); step++) {
            assertEquals(cpu.get(step), emulated.get(step), DRIFT * cpu.get(step), "loss of step " + step);
        }
        String summary = Files.readString(folder.resolve("emulated").resolve(Summary.FILE));
        assertEquals("emulated", JSON.readTree(summary).path("device").asString());
        assertTrue(JSON.readTree(summary).path("scores").has("trained"), summary);
    }

    @Test
    void theSameRunGivesTheSameBytes() throws IOException {
        Path config = Tiny.config(folder, 1);
        losses(config, "emulated");
        Path again = Files.createDirectories(folder.resolve("again"));
        Files.move(folder.resolve("emulated/backbone.safetensors"), again.resolve("backbone.safetensors"));
        losses(config, "emulated");
        assertEquals(-1, Files.mismatch(folder.resolve("emulated/backbone.safetensors"), again.resolve("backbone.safetensors")));
    }

    private List<Double> losses(Path config, String device) throws IOException {
        Path run = folder.resolve(device);
        Gatun.Result result = Gatun.here("pretrain", config.toString(), "--out", run.toString(), "--set", "device.name=" + device);
        assertEquals(0, result.status(), result.err());
        return Files.readAllLines(run.resolve("metrics.jsonl")).stream()
                .map(JSON::readTree)
                .filter(line -> line.has("loss"))
                .map(line -> line.path("loss").asDouble())
                .toList();
    }
}
