// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.checkpoint.Checkpoint;
import dev.gatun.learning.checkpoint.Safetensors;
import dev.gatun.learning.method.ByolProvider;
import dev.gatun.learning.method.DeepClusterProvider;
import dev.gatun.learning.pipeline.CheckpointSettings;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.Section;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.layer.Parameter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Stores apart in whole experiments: they start from the same weights, are saved, and only the backbone is handed on. */
class TargetNetworkTest {
    @TempDir
    Path folder;

    private static Pipeline byol(String backbone) {
        var settings = new ByolProvider.Settings(List.of(8), 6, .9, true);
        Pipeline pipeline = Runs.with(
                Synthetic.pipeline(new ByolProvider(), settings, 96, 2), new Section<>("blocks", new Blocks(), new Blocks.Settings()));
        return Runs.with(pipeline, pipeline.batch(), new CheckpointSettings(1, 0, backbone));
    }

    private static Map<String, float[]> tensors(Experiment experiment) {
        Map<String, float[]> tensors = new HashMap<>();
        for (NamedTensor tensor : experiment.parameters().tensors()) {
            if (tensor.tensor().dtype() == DType.F32) {
                tensors.put(tensor.name(), tensor.tensor().toArray());
            }
        }
        return tensors;
    }

    private static void assertTargetIsOnline(Map<String, float[]> tensors) {
        int targets = 0;
        for (String name : tensors.keySet()) {
            if (name.startsWith("target.")) {
                assertArrayEquals(tensors.get(name.substring("target.".length())), tensors.get(name), name);
                targets++;
            }
        }
        assertTrue(targets > 10, tensors.keySet().toString());
    }

    @Test
    void theTargetStartsEqualAlsoFromAFileOfWeights() {
        Path file = folder.resolve("backbone.safetensors");
        Map<String, float[]> fresh;
        try (Experiment experiment = Experiment.open(byol(""))) {
            fresh = tensors(experiment);
            assertTargetIsOnline(fresh);
            // weights and running statistics of another run
            for (NamedTensor tensor : experiment.parameters().sub(Experiment.BACKBONE).tensors()) {
                float[] other = new float[tensor.tensor().toArray().length];
                for (int i = 0; i < other.length; i++) {
                    other[i] = 1 + i % 7;
                }
                tensor.tensor().copyFrom(other);
            }
            Checkpoint.saveBackbone(file, experiment.parameters().sub(Experiment.BACKBONE));
        }
        try (Experiment experiment = Experiment.open(byol(file.toString()))) {
            Map<String, float[]> started = tensors(experiment);
            assertTargetIsOnline(started);
            assertEquals(2, started.get("target.backbone.norm.running_mean")[1]);
            assertFalse(Arrays.equals(fresh.get("target.backbone.0.weight"), started.get("target.backbone.0.weight")));
            assertArrayEquals(fresh.get("projector.0.weight"), started.get("projector.0.weight"), "the rest is as it was");
        }
        // a store apart without a backbone has nothing to take from it
        Pipeline clusters = Synthetic.pipeline(
                new DeepClusterProvider(), new DeepClusterProvider.Settings(4, 8, 4, 2, .05f, 0f), 96, 1);
        Pipeline blocks = Runs.with(clusters, new Section<>("blocks", new Blocks(), new Blocks.Settings()));
        try (Experiment experiment = Experiment.open(Runs.with(
                blocks, blocks.batch(), new CheckpointSettings(1, 0, file.toString())))) {
            assertEquals(2, tensors(experiment).get("backbone.norm.running_mean")[1]);
        }
    }

    @Test
    void checkpointsHoldTheTargetAndTheBackbonesFileDoesNot() {
        Pipeline pipeline = byol("");
        Map<String, float[]> trained;
        try (Experiment experiment = Experiment.open(pipeline)) {
            assertTrue(new Trainer(experiment, folder, ProgressListener.SILENT).train(false));
            trained = tensors(experiment);
            Parameter moved = experiment.parameters().apart().getFirst().all().getFirst();
            assertFalse(Arrays.equals(trained.get(moved.name()), trained.get(moved.name().substring("target.".length()))));
            Checkpoint.saveBackbone(
                    folder.resolve("b.safetensors"), experiment.parameters().sub(Experiment.BACKBONE));
        }
        try (Experiment experiment = Experiment.open(pipeline)) {
            Checkpoint.load(
                    folder.resolve(Trainer.CHECKPOINT), experiment.parameters(), experiment.optimizers().state());
            Map<String, float[]> restored = tensors(experiment);
            assertEquals(trained.keySet(), restored.keySet());
            trained.forEach((name, values) -> assertArrayEquals(values, restored.get(name), name));
        }
        for (String name : Safetensors.read(folder.resolve("b.safetensors")).entries().keySet()) {
            assertFalse(name.startsWith("target") || name.startsWith("backbone"), name);
        }
    }
}
