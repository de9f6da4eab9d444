// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.tensor.Device;
import dev.gatun.tensor.GradientCheck;
import dev.gatun.primitives.Pooling.Window;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.optimizer.AdamW;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

class LayersTest {
    private static final RandomKey KEY = new RandomKey(1, 2, 3);

    private static float[] wave(int n, double frequency) {
        float[] v = new float[n];
        for (int i = 0; i < n; i++) {
            v[i] = (float) Math.sin(frequency * (i + 1));
        }
        return v;
    }

    /** The gradients of a layer's input and, by moving them one after the other, of all its parameters. */
    private static void check(Function<Parameters, Layer> make, long... inputShape) {
        try (Device device = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            Layer layer = make.apply(parameters);
            parameters.build(device, 5);
            int n = 1;
            for (long d : inputShape) {
                n *= (int) d;
            }
            Tensor x = device.scope().of(wave(n, 1.3), inputShape);
            GradientCheck.check(in -> layer.forward(Pass.inference(in[0].scope()), in[0]), x);
            for (Parameter p : parameters.all()) {
                GradientCheck.check(
                        new GradientCheck.Operation() {
                            @Override
                            public Tensor apply(Tensor... in) {
                                if (in[0].tracked()) {
                                    // the tape's gradient of the parameter, as the check's watched tensor
                                    return dev.gatun.tensor.Function.apply(new Parametric(layer, p, x), in[0]);
                                }
                                float[] before = p.value().toArray();
                                p.value().copyFrom(in[0]);
                                Tensor y = layer.forward(Pass.inference(in[0].scope()), x);
                                p.value().copyFrom(before);
                                return y;
                            }
                        },
                        p.value().copy(device.scope()));
            }
        }
    }

    /** A layer as a function of one parameter: backward runs the layer's own tape into the flat gradient. */
    private record Parametric(Layer layer, Parameter parameter, Tensor x) implements dev.gatun.tensor.Function {
        @Override
        public Tensor forward(dev.gatun.tensor.FunctionContext c, Tensor... in) {
            return layer.forward(Pass.inference(c.scope()), x);
        }

        @Override
        public Tensor[] backward(dev.gatun.tensor.FunctionContext c, Tensor... g) {
            parameter.gradient().zero();
            Tape tape = Tape.on(c.scope());
            Tensor y = layer.forward(Pass.evaluation(tape), x);
            tape.backward(y, g[0]);
            return new Tensor[] {parameter.gradient().copy(c.scope())};
        }
    }

    @Test
    void gradientsReachInputsAndParameters() {
        check(p -> new Linear(p, 4, 3, true), 2, 4);
        check(p -> new Linear(p, 4, 3, false), 2, 2, 4);
        check(p -> new Conv2d(p, 4, 6, 3, 2, 1, 2, true), 2, 5, 4, 4);
        check(p -> new BatchNorm(p, 3), 2, 4, 3);
        check(p -> new LayerNorm(p, 5, 1e-6), 2, 3, 5);
        check(p -> new GroupNorm(p, 2, 6, 1e-5), 2, 3, 2, 6);
        check(p -> new MultiHeadAttention(p, 8, 2, true), 2, 3, 8);
        check(p -> new Sequential(new Linear(p.sub("0"), 4, 5, true), new Gelu(), new Linear(p.sub("2"), 5, 2, true)), 3, 4);
        check(p -> new Sequential(Pool2d.max(2, 2, 0), new Flatten(), new Linear(p, 8, 2, true), new L2Normalize()), 2, 4, 4, 2);
    }

    @Test
    void namesAndShapesAreThoseOfFiles() {
        Parameters p = Parameters.create();
        new Conv2d(p.sub("conv1"), 3, 8, 7, 2, 3, 1, false);
        new BatchNorm(p.sub("bn1"), 8);
        new MultiHeadAttention(p.sub("blocks").sub("0").sub("attn"), 8, 2, true);
        assertEquals(
                List.of(
                        "conv1.weight[8, 7, 7, 3]",
                        "bn1.weight[8]",
                        "bn1.bias[8]",
                        "blocks.0.attn.qkv.weight[24, 8]",
                        "blocks.0.attn.qkv.bias[24]",
                        "blocks.0.attn.proj.weight[8, 8]",
                        "blocks.0.attn.proj.bias[8]"),
                p.all().stream().map(Parameter::toString).toList());
        assertEquals(
                List.of("bn1.running_mean[8]", "bn1.running_var[8]"),
                p.states().stream().map(State::toString).toList());
        assertArrayEquals(
                new long[] {8, 3, 7, 7},
                p.all().getFirst().fileLayout().fileShape(p.all().getFirst().shape()));
        assertFalse(p.all().get(1).decay());
        assertTrue(p.all().getFirst().decay());
        assertThrows(TensorException.class, () -> new MultiHeadAttention(p.sub("x"), 7, 2, true));
        assertThrows(TensorException.class, () -> new Conv2d(p.sub("y"), 3, 8, 3, 1, 1, 2, true));
    }

    @Test
    void batchNormTrainsAndInfers() {
        try (Device device = Device.cpu(1)) {
            Parameters p = Parameters.create();
            BatchNorm norm = new BatchNorm(p, 2, true);
            p.build(device, 1);
            Tensor x = device.scope().of(wave(12, .7), 6, 2);
            Scope scope = device.scope().open();
            float[] before = norm.forward(Pass.inference(scope), x).toArray();
            float[] train = norm.forward(Pass.training(Tape.on(scope), KEY), x).toArray();
            float[] after = norm.forward(Pass.inference(scope), x).toArray();
            assertFalse(Arrays.equals(before, train));
            assertFalse(Arrays.equals(before, after));
            for (float v : train) {
                assertTrue(v >= 0);
            }
            // with batch statistics but no tape, as a target network
            Tensor y = norm.forward(Pass.trainingWithoutGradient(scope, KEY), x);
            assertFalse(y.tracked());
            assertArrayEquals(train, y.toArray());
        }
    }

    /** Inference with running statistics that one step moved, against the definition. */
    @Test
    void inferencePoolsWhatTheRunningStatisticsNormalise() {
        try (Device device = Device.cpu(1)) {
            Parameters p = Parameters.create();
            BatchNorm norm = new BatchNorm(p, 2, true);
            BatchNorm plain = new BatchNorm(p.sub("plain"), 2);
            p.build(device, 1);
            Scope scope = device.scope().open();
            Window window = Window.of(3, 2, 1);
            float[] values = wave(2 * 5 * 4 * 2, .7);
            Tensor x = device.scope().of(values, 2, 5, 4, 2);
            norm.forwardPooled(Pass.training(Tape.on(scope), KEY), x, window);
            float[] mean = state(p, "running_mean");
            float[] variance = state(p, "running_var");
            float[] found = norm.forwardPooled(Pass.inference(scope), x, window).toArray();
            assertEquals(2 * 3 * 2 * 2, found.length);
            for (int i = 0; i < found.length; i++) {
                int c = i % 2;
                int column = i / 2 % 2;
                int row = i / 4 % 3;
                int image = i / 12;
                double most = 0;
                for (int h = Math.max(0, 2 * row - 1); h < Math.min(5, 2 * row + 2); h++) {
                    for (int w = Math.max(0, 2 * column - 1); w < Math.min(4, 2 * column + 2); w++) {
                        most = Math.max(most, (values[((image * 5 + h) * 4 + w) * 2 + c] - mean[c]) / Math.sqrt(variance[c] + BatchNorm.EPSILON));
                    }
                }
                assertEquals(most, found[i], 1e-6 * Math.max(1, most), "element " + i);
            }
            assertArrayEquals(mean, state(p, "running_mean"));
            assertArrayEquals(variance, state(p, "running_var"));
            assertThrows(TensorException.class, () -> plain.forwardPooled(Pass.inference(scope), x, window));
        }
    }

    private static float[] state(Parameters p, String name) {
        return p.states().stream().filter(s -> s.name().equals(name)).findFirst().orElseThrow().value().toArray();
    }

    private static Layer net(Parameters p) {
        return new Sequential(
                new Conv2d(p.sub("conv1"), 1, 8, 3, 2, 1, 1, false),
                new BatchNorm(p.sub("bn1"), 8, true),
                new Conv2d(p.sub("conv2"), 8, 16, 3, 2, 1, 1, false),
                new BatchNorm(p.sub("bn2"), 16),
                new Relu(),
                Pool2d.globalAverage(),
                new Linear(p.sub("head"), 16, 4, true),
                new L2Normalize());
    }

    /** Three steps of a small network. */
    private static float[] train(int threads) {
        try (Device device = Device.cpu(threads)) {
            Parameters parameters = Parameters.create();
            Layer net = net(parameters);
            parameters.build(device, 11);
            AdamW optimizer = new AdamW(parameters, .05f);
            for (int step = 0; step < 3; step++) {
                parameters.zeroGradients();
                try (Scope scope = device.scope().open()) {
                    Tape tape = Tape.on(scope);
                    Pass pass = Pass.training(tape, KEY.step(step));
                    Tensor x = scope.of(wave(12 * 196, .37 + step), 12, 14, 14, 1);
                    Tensor target = scope.of(wave(48, .91), 12, 4);
                    tape.backward(net.forward(pass, x).sub(target).square().sum());
                }
                optimizer.step(.01f);
            }
            return parameters.values().toArray();
        }
    }

    @Test
    void trainingHasTheSameBitsForAnyNumberOfThreads() {
        float[] one = train(1);
        assertArrayEquals(one, train(1));
        assertArrayEquals(one, train(2));
        assertArrayEquals(one, train(3));
    }

    @Test
    void accumulatedHalvesMakeTheWholeGradient() {
        try (Device device = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            Linear net = new Linear(parameters, 6, 3, true);
            parameters.build(device, 1);
            Tensor x = device.scope().of(wave(24, .7), 4, 6);
            Scope scope = device.scope().open();
            Tape tape = Tape.on(scope);
            Pass pass = Pass.training(tape, KEY);
            tape.backward(net.forward(pass, x).square().sum());
            float[] whole = parameters.gradients().toArray();
            parameters.zeroGradients();
            tape.backward(net.forward(pass, x.slice(0, 0, 2)).square().sum());
            Tape second = Tape.on(scope.open());
            second.backward(net.forward(Pass.training(second, KEY), x.slice(0, 2, 4)).square().sum());
            assertArrayEquals(whole, parameters.gradients().toArray(), 1e-5f);
        }
    }

    @Test
    void trainingStepsAskTheSystemForNothingAfterTheFirst() {
        try (Device device = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            Layer net = net(parameters);
            Layer attention = new MultiHeadAttention(parameters.sub("attn"), 4, 2, true);
            DropPath drop = new DropPath(.5, DropPath.Form.SUBSET);
            parameters.build(device, 11);
            AdamW optimizer = new AdamW(parameters, .05f);
            // strided and in the root scope: temporary copies must not stay there
            Tensor images = device.scope().of(wave(12 * 196, .37), 14, 12, 14, 1).transpose(0, 1);
            long requests = 0;
            long live = 0;
            for (int step = 0; step < 200; step++) {
                parameters.zeroGradients();
                try (Scope scope = device.scope().open()) {
                    Tape tape = Tape.on(scope);
                    Pass pass = Pass.training(tape, KEY.step(step));
                    Tensor y = net.forward(pass, scope.attach(images)).reshape(12, 1, 4);
                    Tensor loss = drop.residual(pass, y, attention).square().sum();
                    tape.backward(loss);
                    assertTrue(loss.finite());
                }
                optimizer.clip(1f);
                optimizer.step(.001f);
                images.toArray();
                if (step == 2) {
                    requests = device.allocatorRequests();
                    live = device.liveBytes();
                }
                if (step > 2) {
                    assertEquals(requests, device.allocatorRequests(), "step " + step);
                    assertEquals(live, device.liveBytes(), "step " + step);
                }
            }
        }
    }
}
