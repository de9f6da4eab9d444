// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Stochastic depth in the backbones, in both forms and with both rules. */
class StochasticDepthTest {
    private static final RandomKey KEY = new RandomKey(1, 0, 0);
    private static final List<String> FORMS = List.of("mask", "subset");

    private Device device;
    private Scope scope;

    @BeforeEach
    void open() {
        device = Device.cpu(1);
        scope = device.scope().open();
    }

    @AfterEach
    void close() {
        device.close();
    }

    private record Network(Encoder encoder, Parameters parameters) {}

    private Network vit(double rate, String rule, String form) {
        Parameters parameters = Parameters.create();
        VitSettings settings = new VitSettings(4, 12, 3, 3, 2, "token", rate, rule, form, 0, "fused");
        return build(new VitProvider().create(settings, parameters, new long[] {8, 8, 1}), parameters);
    }

    /** Three blocks, the second of which has a shortcut of its own. */
    private Network resNet(String block, double rate, String rule, String form) {
        Parameters parameters = Parameters.create();
        ResNetSettings settings = new ResNetSettings(block, List.of(1, 2), List.of(4, 6), "small", false, rate, rule, form, false, 0);
        return build(new ResNetProvider().create(settings, parameters, new long[] {8, 8, 1}), parameters);
    }

    private Network build(Encoder encoder, Parameters parameters) {
        parameters.build(device, 5);
        return new Network(encoder, parameters);
    }

    private List<Network> networks(double rate, String rule, String form) {
        return List.of(vit(rate, rule, form), resNet("basic", rate, rule, form), resNet("bottleneck", rate, rule, form));
    }

    private Tensor images(int count) {
        float[] values = new float[count * 64];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) Math.sin(i * .7 + i % 13);
        }
        return scope.of(values, count, 8, 8, 1);
    }

    private float[] train(Network net, RandomKey key) {
        return net.encoder.forward(Pass.trainingWithoutGradient(scope, key), images(6)).toArray();
    }

    /** Every gradient of a loss that weighs the features. */
    private float[] gradients(Network net) {
        net.parameters.zeroGradients();
        try (Scope step = scope.open()) {
            Tape tape = Tape.on(step);
            Tensor features = net.encoder.forward(Pass.training(tape, KEY), images(6));
            tape.backward(features.square().sum());
            return net.parameters.gradients().toArray();
        }
    }

    @Test
    void dropsByItsKeyAndInTrainingOnly() {
        for (String form : FORMS) {
            for (Network net : networks(.5, "uniform", form)) {
                float[] a = train(net, KEY);
                assertArrayEquals(a, train(net, KEY));
                assertFalse(Arrays.equals(a, train(net, KEY.step(1))));
            }
            // the same parameters, other rates
            assertArrayEquals(vit(.5, "uniform", form).encoder.forward(Pass.inference(scope), images(6)).toArray(),
                    vit(0, "uniform", form).encoder.forward(Pass.inference(scope), images(6)).toArray());
            assertArrayEquals(resNet("basic", .5, "linear", form).encoder.forward(Pass.inference(scope), images(6)).toArray(),
                    resNet("basic", 0, "linear", form).encoder.forward(Pass.inference(scope), images(6)).toArray());
        }
    }

    @Test
    void rateZeroHasTheBytesOfNoDropPath() {
        List<Network> masked = networks(0, "uniform", "mask");
        List<Network> subset = networks(0, "linear", "subset");
        for (int i = 0; i < masked.size(); i++) {
            assertArrayEquals(train(masked.get(i), KEY), train(subset.get(i), KEY));
            assertArrayEquals(gradients(masked.get(i)), gradients(subset.get(i)));
        }
    }

    @Test
    void everyParameterGetsAGradient() {
        for (String form : FORMS) {
            for (Network net : networks(.5, "uniform", form)) {
                float[] first = gradients(net);
                assertArrayEquals(first, gradients(net));
                for (Parameter p : net.parameters.all()) {
                    boolean any = false;
                    for (float g : p.gradient().toArray()) {
                        assertTrue(Float.isFinite(g), p.name());
                        any |= g != 0;
                    }
                    assertTrue(any, form + " " + p.name());
                }
            }
        }
    }

    @Test
    void rulesGiveEachBlockItsRate() {
        assertEquals(0, Settings.rate(.4, "linear", 0, 5));
        assertEquals(.2, Settings.rate(.4, "linear", 2, 5));
        assertEquals(.4, Settings.rate(.4, "linear", 4, 5));
        assertEquals(.4, Settings.rate(.4, "linear", 0, 1));
        assertEquals(.4, Settings.rate(.4, "uniform", 0, 5));
        for (String form : FORMS) {
            assertEquals(6, draws(vit(.5, "uniform", form)));
            assertEquals(4, draws(vit(.5, "linear", form)));
            assertEquals(3, draws(resNet("basic", .5, "uniform", form)));
            assertEquals(2, draws(resNet("bottleneck", .5, "linear", form)));
            assertEquals(0, draws(resNet("basic", 0, "uniform", form)));
        }
    }

    /** How many random decisions a training pass makes: one for each residual connection whose rate is above 0. */
    private int draws(Network net) {
        Pass pass = Pass.trainingWithoutGradient(scope, KEY);
        net.encoder.forward(pass, images(6));
        RandomKey next = pass.nextKey();
        int draws = 0;
        while (!KEY.child(draws).equals(next)) {
            draws++;
        }
        return draws;
    }

    /** A doubled batch is two submodels: with the same images and ids, both halves come out alike only without drop path. */
    @Test
    void copiesOfABatchAreSubmodelsOfTheirOwn() {
        Tensor twice = Tensor.concat(0, images(6), images(6));
        long[] ids = {11, 12, 13, 14, 15, 16};
        for (String form : FORMS) {
            for (double rate : new double[] {0, .5}) {
                Network net = vit(rate, "uniform", form);
                float[] y = net.encoder.forward(Pass.trainingWithoutGradient(scope, KEY).withSamples(ids), twice).toArray();
                boolean alike = Arrays.equals(Arrays.copyOf(y, y.length / 2), Arrays.copyOfRange(y, y.length / 2, y.length));
                assertEquals(rate == 0, alike);
            }
        }
    }
}
