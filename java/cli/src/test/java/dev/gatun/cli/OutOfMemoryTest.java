// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.Pretraining;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.Report;
import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A training run on a device with little memory. */
class OutOfMemoryTest {
    private static final String LINE =
            "gatun: allocate: device emulated has no room for \\d+ bytes: \\d+ are in use, \\d+ were cached and have been given back; "
                    + "the limit is 1048576\\R";

    @TempDir
    Path folder;

    private Path config() throws IOException {
        Path config = Tiny.config(folder, 2, "checkpoint: {every_epochs: 1}\n");
        // some MiB
        return Files.writeString(config, Files.readString(config).replace("widths: [4, 8]", "widths: [64, 128]"));
    }

    private Gatun.Result run(String name, String... more) throws IOException {
        List<String> arguments = new ArrayList<>(
                List.of("pretrain", config().toString(), "--out", folder.resolve(name).toString(), "--device", "emulated"));
        arguments.addAll(List.of(more));
        return Gatun.here(arguments.toArray(String[]::new));
    }

    private byte[] file(String run, String name) throws IOException {
        return Files.readAllBytes(folder.resolve(run).resolve(name));
    }

    @ParameterizedTest
    @ValueSource(strings = {"true", "false"})
    void tooLittleIsOneLine(String capture) throws IOException {
        Gatun.Result result = run("little", "--set", "device.memory_mib=1", "--set", "device.capture=" + capture);
        assertEquals(1, result.status(), result.out());
        assertTrue(result.err().matches(LINE), result.err());
        assertFalse(Files.exists(folder.resolve("little/summary.json")));
    }

    @Test
    void enoughIsTheSameRunAndTheCheckpointOutlivesTooLittle() throws IOException {
        assertEquals(0, run("plain").status());
        List<String> settings = List.of("device.name=emulated", "device.memory_mib=64");
        try (Experiment experiment = Experiment.open(PipelineReader.read(config(), settings))) {
            Trainer trainer = new Trainer(experiment, folder.resolve("limited"), new ProgressListener() {
                @Override
                public void step(Progress progress) {
                    if (progress.step() == 9) {
                        throw new IllegalStateException("cut off");
                    }
                }
            });
            assertThrows(IllegalStateException.class, () -> trainer.train(false));
        }
        byte[] checkpoint = file("limited", Trainer.CHECKPOINT);
        Gatun.Result little = run("limited", "--resume", "--set", "device.memory_mib=1");
        assertEquals(1, little.status(), little.out());
        assertTrue(little.err().matches(LINE), little.err());
        assertArrayEquals(checkpoint, file("limited", Trainer.CHECKPOINT));

        Gatun.Result enough = run("limited", "--resume", "--set", "device.memory_mib=64");
        assertEquals(0, enough.status(), enough.err());
        assertTrue(enough.out().contains("unknown, for the run was resumed"), enough.out());
        assertArrayEquals(file("plain", Pretraining.BACKBONE), file("limited", Pretraining.BACKBONE));
    }

    @Test
    void whatTheTrainingTookIsReported() throws IOException {
        Gatun.Result result = run("run", "--set", "device.memory_mib=64", "--set", "schedule.epochs=1");
        assertEquals(0, result.status(), result.err());
        JsonNode summary = JsonMapper.builder().build().readTree(Files.readString(folder.resolve("run").resolve(Summary.FILE)));
        long tensors = summary.path("peak_training_bytes").asLong();
        long device = summary.path("peak_device_bytes").asLong();
        assertTrue(1 << 20 < tensors && tensors <= device && device <= 64 << 20, summary.toString());
        String line = String.format(Locale.ROOT, "memory: the training's tensors %,.1f MiB, all that it took of emulated %,.1f MiB, the process ",
                tensors / 1048576.0, device / 1048576.0);
        assertTrue(result.out().contains(line), result.out());
        assertTrue(Files.readString(folder.resolve("run").resolve(Report.FILE)).contains("<span>peak device bytes</span>"));
    }
}
