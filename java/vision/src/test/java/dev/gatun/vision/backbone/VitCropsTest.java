// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Crops of several sizes through a vit: all tokens at once where blocks are fused, with the results and draws of one pass a size. */
class VitCropsTest {
    private static final RandomKey KEY = new RandomKey(3, 1, 4);
    private static final long[] IDS = {21, 22, 23};

    /** Three sizes; the second is the one that position embeddings are made for. */
    private static List<Tensor> crops(Scope scope) {
        return List.of(images(scope, 6, 16, 12), images(scope, 3, 12, 12), images(scope, 12, 8, 4));
    }

    private static Tensor images(Scope scope, int count, int height, int width) {
        float[] values = new float[count * height * width];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) Math.sin(i * .61 + i % 17);
        }
        return scope.of(values, count, height, width, 1);
    }

    private static Map<String, float[]> run(VitSettings settings, boolean together) {
        try (Device device = Device.cpu(2); Scope scope = device.scope().open()) {
            Parameters parameters = Parameters.create();
            Encoder vit = new VitProvider().create(settings, parameters, new long[] {12, 12, 1});
            parameters.build(device, 5);
            Tape tape = Tape.on(scope);
            Pass pass = Pass.training(tape, KEY).withSamples(IDS);
            List<Tensor> crops = crops(scope);
            Tensor features = together ? vit.forwardAll(pass, crops)
                    : Tensor.concat(0, crops.stream().map(x -> vit.forward(pass, x)).toArray(Tensor[]::new));
            assertArrayEquals(new long[] {21, settings.width()}, features.shape());
            Map<String, float[]> found = new LinkedHashMap<>();
            found.put("features", features.toArray());
            // every image has a weight of its own: a result in another's place shows
            float[] weights = new float[21];
            for (int i = 0; i < weights.length; i++) {
                weights[i] = (float) Math.cos(i);
            }
            tape.lastBackward(features.square().mul(scope.of(weights, 21, 1)).sum());
            for (Parameter p : parameters.all()) {
                found.put(p.name(), p.gradient().toArray());
            }
            found.put("next draw", new float[] {pass.nextKey().hashCode()});
            return found;
        }
    }

    private static double distance(float[] a, float[] b) {
        assertEquals(a.length, b.length);
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
        }
        return Math.sqrt(sum / a.length);
    }

    private static VitSettings vit(String pooling, double rate, String form, double scale, String blocks) {
        return new VitSettings(4, 12, 3, 3, 2, pooling, rate, "linear", form, scale, blocks);
    }

    @Test
    void allTokensAtOnceGiveWhatOnePassASizeGives() {
        for (String pooling : List.of("token", "average")) {
            for (String form : List.of("mask", "subset")) {
                for (double rate : new double[] {0, .5}) {
                    double scale = form.equals("mask") ? .5 : 0;
                    Map<String, float[]> passes = run(vit(pooling, rate, form, scale, "fused"), false);
                    Map<String, float[]> composed = run(vit(pooling, rate, form, scale, "composed"), false);
                    Map<String, float[]> together = run(vit(pooling, rate, form, scale, "fused"), true);
                    assertEquals(passes.keySet(), together.keySet());
                    passes.forEach((name, expected) -> {
                        // two ways to compute it in the same precision differ so much; sums in other orders may, too
                        double rounding = distance(composed.get(name), expected);
                        double size = distance(expected, new float[expected.length]);
                        double bound = 4 * rounding + 4 * Math.ulp(1f) * size;
                        double off = distance(together.get(name), expected);
                        assertTrue(off <= bound, pooling + " " + form + " " + rate + ": " + name + " is off by " + off + ", bound " + bound);
                        assertTrue(bound <= 1e-3 * size + 1e-7, name + ": " + bound + " of " + size + " would hide a mistake");
                    });
                }
            }
        }
    }

    @Test
    void composedBlocksTakeOneSizeAfterTheOther() {
        VitSettings composed = vit("token", .5, "subset", 0, "composed");
        Map<String, float[]> passes = run(composed, false);
        run(composed, true).forEach((name, found) -> assertArrayEquals(passes.get(name), found, name));
    }

    @Test
    void sizesThatDoNotDivideIntoPatchesAreNamed() {
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            Parameters parameters = Parameters.create();
            Encoder vit = new VitProvider().create(vit("token", 0, "mask", 0, "fused"), parameters, new long[] {12, 12, 1});
            parameters.build(device, 5);
            List<Tensor> crops = List.of(images(scope, 2, 12, 12), images(scope, 2, 8, 7));
            String message = assertThrows(TensorException.class, () -> vit.forwardAll(Pass.inference(scope), crops)).getMessage();
            assertTrue(message.contains("8x7"), message);
        }
    }
}
