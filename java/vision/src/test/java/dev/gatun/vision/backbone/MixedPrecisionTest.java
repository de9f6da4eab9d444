// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.tensor.layer.MixedPrecision;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Backbones in bf16 on the emulated device against f32 on the CPU: features, and the gradients of all parameters.
 *
 * <p>The bound. Let D be how far a result moves, in f32, when every weight and every pixel moves by u = 2⁻⁸ of itself, up or down at
 * random, the largest of several moves: the effect of one rounding to bf16 in every layer, with the amplification of what is behind it. In
 * bf16 a layer with a weight rounds more often: the weight; what it gives, what the norm or the nonlinearity behind it makes of that, a share
 * of the residual sum; and the gradient of each. That is 6 a weight in a residual block (2 weights, 5 tensors, their 5 gradients) and in a
 * transformer's (4 weights, 10 tensors, their 10 gradients), and 5 in a plain stage. They are as often up as down, and independent: 6 of them
 * reach √6 as far as one. D is large where a ReLU is: what is near zero passes or does not. Where the exact gradient is zero, as that of a bias before a norm, roundings of what would cancel are left: u of the whole gradient.
 */
class MixedPrecisionTest {
    private static final double ROUNDING = 0x1p-8;
    private static final double ROUNDINGS = Math.sqrt(6);
    private static final int MOVES = 4;
    private static final int BATCH = 6;
    private static final int SIDE = 12;
    private static final RandomKey KEY = new RandomKey(3, 0, 9);

    record Backbone(String name, EncoderProvider provider, Record settings, int side) {
        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Backbone> backbones() {
        return Stream.of(
                new Backbone("convnet", new ConvNetProvider(), new ConvNetSettings(List.of(8, 16), false), SIDE),
                new Backbone("edges", new ConvNetProvider(), new ConvNetSettings(List.of(8), true), SIDE),
                new Backbone("resnet", new ResNetProvider(), resNet("basic", "imagenet", 0, "mask"), 2 * SIDE),
                new Backbone("bottlenecks", new ResNetProvider(), resNet("bottleneck", "small", .3, "subset"), SIDE),
                new Backbone("vit", new VitProvider(), vit("token", .3, "mask"), SIDE),
                new Backbone("vit, subsets", new VitProvider(), vit("average", .3, "subset"), SIDE),
                // not the size that its position embeddings are for
                new Backbone("vit, smaller crops", new VitProvider(), vit("token", 0, "mask"), SIDE - 4));
    }

    private static ResNetSettings resNet(String block, String stem, double drop, String form) {
        return new ResNetSettings(block, List.of(1, 1), List.of(8, 16), stem, false, drop, "uniform", form, false, 0);
    }

    private static VitSettings vit(String pooling, double drop, String form) {
        return new VitSettings(4, 24, 2, 3, 2, pooling, drop, "uniform", form, 0, "fused");
    }

    /** Features and gradients by name. */
    private record Result(Map<String, float[]> values) {
        static final String FEATURES = "features";

        double size() {
            return Math.sqrt(values.keySet().stream().filter(name -> !name.equals(FEATURES))
                    .mapToDouble(name -> Math.pow(size(name), 2)).sum());
        }

        double size(String name) {
            return distance(values.get(name), new float[values.get(name).length]);
        }

        double distance(Result other, String name) {
            return distance(values.get(name), other.values.get(name));
        }

        private static double distance(float[] a, float[] b) {
            assertEquals(a.length, b.length);
            double sum = 0;
            for (int i = 0; i < a.length; i++) {
                sum += Math.pow((double) a[i] - b[i], 2);
            }
            return Math.sqrt(sum);
        }
    }

    private static float[] wave(int n, double step) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) Math.sin(i * step + i % 13);
        }
        return values;
    }

    /** Images that differ: each has its own frequency, contrast and brightness. */
    private static float[] images(int side) {
        int each = side * side * 3;
        float[] values = new float[BATCH * each];
        for (int b = 0; b < BATCH; b++) {
            for (int i = 0; i < each; i++) {
                int row = i / 3 / side;
                int column = i / 3 % side;
                values[b * each + i] = (float) ((.4 + .3 * b) * Math.sin(.3 * (b + 1) * column + .2 * (BATCH - b) * row + i % 3) + .5 * (b % 3));
            }
        }
        return values;
    }

    private static void move(float[] values, SplittableRandom random) {
        for (int i = 0; i < values.length; i++) {
            values[i] *= (float) (1 + (random.nextBoolean() ? ROUNDING : -ROUNDING));
        }
    }

    /** Forward and backward in training; moved by a random seed above 0. */
    private static Result run(Backbone backbone, Device device, DType precision, int seed) {
        SplittableRandom random = new SplittableRandom(seed);
        Parameters parameters = Parameters.create();
        Encoder encoder = MixedPrecision.of(backbone.provider().create(backbone.settings(), parameters, new long[] {SIDE, SIDE, 3}));
        try (Scope scope = device.scope().open()) {
            parameters.build(scope, 5);
            float[] pixels = images(backbone.side());
            if (seed > 0) {
                move(pixels, random);
                for (Parameter p : parameters.all()) {
                    float[] values = p.value().toArray();
                    move(values, random);
                    p.value().copyFrom(values);
                }
            }
            Pass pass = Pass.training(Tape.on(scope), KEY).withPrecision(precision);
            Tensor features = encoder.forward(pass, scope.of(pixels, BATCH, backbone.side(), backbone.side(), 3));
            assertEquals(DType.F32, features.dtype());
            pass.tape().backward(features, scope.of(wave((int) features.elements(), 1.3), features.shape()));
            Map<String, float[]> values = new LinkedHashMap<>();
            values.put(Result.FEATURES, features.toArray());
            parameters.all().forEach(p -> values.put(p.name(), p.gradient().toArray()));
            return new Result(values);
        }
    }

    @ParameterizedTest
    @MethodSource("backbones")
    void featuresAndGradientsAreThoseOfF32(Backbone backbone) {
        Result expected;
        Result found;
        List<Result> moved = new ArrayList<>();
        try (Device cpu = Device.cpu(1); Device device = Device.emulated()) {
            expected = run(backbone, cpu, DType.F32, 0);
            for (int seed = 1; seed <= MOVES; seed++) {
                moved.add(run(backbone, cpu, DType.F32, seed));
            }
            found = run(backbone, device, DType.BF16, 0);
        }
        double whole = expected.size();
        double allowed = 0;
        for (String name : expected.values().keySet()) {
            double move = moved.stream().mapToDouble(m -> expected.distance(m, name)).max().orElseThrow();
            double least = name.equals(Result.FEATURES) ? 0 : ROUNDING * whole;
            double bound = ROUNDINGS * Math.max(move, least);
            double error = expected.distance(found, name);
            assertTrue(error <= bound, name + " is off by " + error + ", more than " + bound);
            allowed += name.equals(Result.FEATURES) ? 0 : bound * bound;
        }
        // without one of its parts, or with the wrong sign, the gradient would be further off
        assertTrue(Math.sqrt(allowed) < whole * .75, "a bound of " + Math.sqrt(allowed) + " for a gradient of " + whole);
    }

    /** What a forward pass keeps for the backward one. */
    private static long kept(Backbone backbone, DType precision) {
        Parameters parameters = Parameters.create();
        Encoder encoder = MixedPrecision.of(backbone.provider().create(backbone.settings(), parameters, new long[] {SIDE, SIDE, 3}));
        try (Device device = Device.emulated(); Scope scope = device.scope().open()) {
            parameters.build(scope, 5);
            parameters.computeIn(precision);
            Pass pass = Pass.training(Tape.on(scope), KEY).withPrecision(precision);
            Tensor images = scope.of(images(backbone.side()), BATCH, backbone.side(), backbone.side(), 3);
            long before = device.liveBytes();
            encoder.forward(pass, images);
            return device.liveBytes() - before;
        }
    }

    @Test
    void activationsTakeHalf() {
        for (Backbone backbone : List.of(
                new Backbone("vit", new VitProvider(), vit("token", 0, "mask"), 4 * SIDE),
                new Backbone("resnet", new ResNetProvider(), resNet("basic", "small", 0, "mask"), 2 * SIDE))) {
            long f32 = kept(backbone, DType.F32);
            long bf16 = kept(backbone, DType.BF16);
            // half, and what stays f32: statistics of norms, log-sum-exp, features; the images once more
            assertTrue(bf16 < .6 * f32, backbone + ": " + bf16 + " of " + f32 + " bytes");
        }
    }
}
