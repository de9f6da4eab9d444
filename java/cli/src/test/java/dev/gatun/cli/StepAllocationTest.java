// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.tensor.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** After its first steps a training asks the system for no memory, and leaves little behind on the Java heap. */
class StepAllocationTest {
    private static final int WARM_UP = 4;
    private static final int STEPS = 16;

    /** Of Java objects a step, the views and the line of metrics included: descriptors and tape entries, of no tensor's size. */
    private static final long GARBAGE = 1 << 20;

    @TempDir
    Path folder;

    private static long allocatedByThisThread() {
        try {
            Object bean = Class.forName("java.lang.management.ManagementFactory").getMethod("getThreadMXBean").invoke(null);
            return (long) Class.forName("com.sun.management.ThreadMXBean").getMethod("getCurrentThreadAllocatedBytes").invoke(bean);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private record State(long requests, long held, long live, long garbage) {}

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "swav, prototypes: 8, hidden: [16], output: 8, queue: 32, queue_start_epoch: 0 | drop_path: 0",
        "swav, prototypes: 8, hidden: [16], output: 8 | drop_path: 0.5, drop_path_form: mask, layer_scale: 0.1",
        "swav, prototypes: 8, hidden: [16], output: 8 | drop_path: 0.5, drop_path_form: subset",
        "swav, prototypes: 8, hidden: [16], output: 8 | blocks: composed",
        "simclr, hidden: [16], output: 8 | pooling: average",
        "cosub | drop_path: 0.4, drop_path_form: subset",
    })
    void aStepIsAllocatedOnce(String method, String model) throws IOException {
        Path config = Tiny.config(folder, 1);
        Files.writeString(config, Files.readString(config)
                .replaceAll("model: .*", "model: {name: vit, patch: 2, width: 32, depth: 3, heads: 2, " + model + "}")
                .replaceAll("method: .*", "method: {name: " + method + "}")
                .replace("epochs: 1}", "steps: " + STEPS + "}"));
        List<State> states = new ArrayList<>();
        try (Experiment experiment = Experiment.open(PipelineReader.read(config, List.of("device.name=cpu", "device.threads=2")))) {
            Device device = experiment.device();
            new Trainer(experiment, folder.resolve("run"), new ProgressListener() {
                @Override
                public void step(Progress progress) {
                    states.add(new State(device.allocatorRequests(), device.heldBytes(), device.liveBytes(), allocatedByThisThread()));
                }
            }).train(false);
        }
        assertEquals(STEPS, states.size());
        State warm = states.get(WARM_UP - 1);
        assertTrue(warm.requests() > 0 && warm.held() > warm.live());
        for (int i = WARM_UP; i < STEPS; i++) {
            State now = states.get(i);
            assertEquals(warm.requests(), now.requests(), "step " + (i + 1));
            assertEquals(warm.held(), now.held(), "step " + (i + 1));
            assertEquals(warm.live(), now.live(), "step " + (i + 1));
        }
        // an epoch's end may fall between two steps
        long[] garbage = new long[STEPS - WARM_UP];
        for (int i = WARM_UP; i < STEPS; i++) {
            garbage[i - WARM_UP] = states.get(i).garbage() - states.get(i - 1).garbage();
        }
        Arrays.sort(garbage);
        long median = garbage[garbage.length / 2];
        assertTrue(median <= GARBAGE, median + " bytes of Java objects a step");
    }
}
