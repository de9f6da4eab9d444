// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.LearningException;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.layer.FileLayout;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.State;
import dev.gatun.tensor.optimizer.AdamW;
import dev.gatun.tensor.optimizer.Optimizer;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointTest {
    @TempDir
    Path folder;

    private final Device device = Device.cpu(1);

    @AfterEach
    void close() {
        device.close();
    }

    private final class Network {
        final Parameters parameters = Parameters.create();
        final Parameter conv;
        final State mean;
        final Optimizer optimizer;

        Network(long seed, int out, String extra) {
            conv = parameters.sub("backbone")
                    .parameter("conv.weight", Initializer.kaimingNormal(), FileLayout.OIHW, true, out, 3, 2, 5);
            mean = parameters.sub("backbone").state("bn.running_mean", 1f, out);
            parameters.sub("head").parameter("weight", Initializer.fanInUniform(), 4, out);
            if (!extra.isEmpty()) {
                parameters.parameter(extra, Initializer.zeros(), 2);
            }
            parameters.build(device, seed);
            optimizer = new AdamW(parameters, .01f);
        }

        void step() {
            parameters.all().forEach(parameter -> parameter.gradient().fill(.5f));
            optimizer.step(.1f);
            mean.value().fill(3f);
        }

        float[] all() {
            return parameters.values().toArray();
        }
    }

    private Path file() {
        return folder.resolve("checkpoint.safetensors");
    }

    private void save(Network network) {
        Checkpoint.save(file(), new Checkpoint(12, Map.of("method", "none")), network.parameters, network.optimizer.state());
    }

    @Test
    void restoresParametersStateAndOptimizer() {
        Network a = new Network(1, 6, "");
        a.step();
        save(a);
        Network b = new Network(2, 6, "");
        Checkpoint read = Checkpoint.load(file(), b.parameters, b.optimizer.state());
        assertEquals(new Checkpoint(12, Map.of("method", "none")), read);
        assertArrayEquals(a.all(), b.all());
        assertArrayEquals(a.mean.value().toArray(), b.mean.value().toArray());
        a.step();
        b.step();
        assertArrayEquals(a.all(), b.all(), "the optimizer goes on as if nothing had happened");
    }

    @Test
    void convolutionWeightsAreOihwInFiles() {
        Network a = new Network(1, 6, "");
        save(a);
        Safetensors.Entry entry = Safetensors.read(file()).entries().get("backbone.conv.weight");
        assertArrayEquals(new long[] {6, 5, 3, 2}, entry.shape());
        float[] memory = a.conv.value().toArray();
        float[] inFile = entry.data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        int o = 4, h = 2, w = 1, i = 3;
        assertEquals(memory[((o * 3 + h) * 2 + w) * 5 + i], inFile[((o * 5 + i) * 3 + h) * 2 + w]);
    }

    @Test
    void theBackboneAloneMovesBetweenFiles() {
        Network a = new Network(1, 6, "");
        a.step();
        save(a);
        Path weights = folder.resolve("backbone.safetensors");
        Checkpoint.saveBackbone(weights, a.parameters.sub("backbone"));
        assertEquals(
                List.of("conv.weight", "bn.running_mean"), List.copyOf(Safetensors.read(weights).entries().keySet()));
        for (Path source : List.of(weights, file())) {
            Network b = new Network(2, 6, "");
            float[] head = b.parameters.sub("head").all().getFirst().value().toArray();
            Checkpoint.loadBackbone(source, b.parameters.sub("backbone"));
            assertArrayEquals(a.conv.value().toArray(), b.conv.value().toArray());
            assertArrayEquals(a.mean.value().toArray(), b.mean.value().toArray());
            assertArrayEquals(head, b.parameters.sub("head").all().getFirst().value().toArray());
        }
    }

    @Test
    void anotherArchitectureIsRefusedAndNothingIsOverwritten() {
        save(new Network(1, 6, ""));
        Network wide = new Network(2, 7, "");
        float[] before = wide.all();
        assertMessage("of another architecture: tensor backbone.conv.weight is f32[6, 5, 3, 2], this network's is "
                + "f32[7, 5, 3, 2]", wide);
        assertArrayEquals(before, wide.all());
        assertMessage("of another architecture: it has no tensor more.weight", new Network(2, 6, "more.weight"));
        save(new Network(1, 6, "more.weight"));
        assertMessage("of another architecture: this network has no tensor more.weight", new Network(2, 6, ""));
    }

    private void assertMessage(String part, Network network) {
        LearningException e = assertThrows(
                LearningException.class, () -> Checkpoint.load(file(), network.parameters, network.optimizer.state()));
        assertTrue(e.getMessage().contains(part), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }

    @Test
    void anotherVersionOrKindOfFileIsRefused() {
        Network a = new Network(1, 6, "");
        Safetensors.write(file(), Map.of("format", "gatun.checkpoint", "version", "99", "step", "1"), List.of());
        assertMessage("a checkpoint of version 99; this library reads version 1", a);
        Safetensors.write(file(), Map.of(), List.of());
        assertMessage("not a checkpoint of a run", a);
    }

    @Test
    void anyDamageIsFound() throws IOException {
        Network a = new Network(1, 6, "");
        save(a);
        byte[] good = Files.readAllBytes(file());
        SplittableRandom random = new SplittableRandom(3);
        for (int trial = 0; trial < 300; trial++) {
            byte[] bad = good.clone();
            if (trial % 3 == 0) {
                bad = java.util.Arrays.copyOf(good, random.nextInt(good.length));
            } else {
                bad[random.nextInt(good.length)] ^= (byte) (1 << random.nextInt(8));
            }
            Files.write(file(), bad);
            LearningException e = assertThrows(
                    LearningException.class, () -> Checkpoint.load(file(), a.parameters, a.optimizer.state()), "trial " + trial);
            assertFalse(e.getMessage().contains("\n"), e.getMessage());
        }
    }
}
