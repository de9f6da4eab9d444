// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.tensor.Device;
import dev.gatun.tensor.GradientCheck;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.State;
import java.util.Arrays;
import java.util.List;
import java.util.ServiceLoader;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class BackboneTest {
    private static final RandomKey KEY = new RandomKey(3, 0, 9);
    private static final VitSettings TINY_VIT = new VitSettings(4, 12, 2, 3, 2, "token", 0, "uniform", "mask", 0, "fused");

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

    private static ResNetSettings resNet(String block, List<Integer> depths, List<Integer> widths, String stem) {
        return new ResNetSettings(block, depths, widths, stem, false, 0, "uniform", "mask", false, 0);
    }

    /** A network with its parameters; built only if it is to be run. */
    private record Network(Encoder encoder, Parameters parameters) {
        static Network of(EncoderProvider provider, Record settings, long... inputShape) {
            Parameters parameters = Parameters.create();
            return new Network(provider.create(settings, parameters, inputShape), parameters);
        }

        Network build(Device device) {
            parameters.build(device, 5);
            return this;
        }

        List<String> names() {
            return parameters.all().stream().map(Parameter::name).toList();
        }

        long[] shape(String name) {
            Parameter p = parameters.all().stream().filter(q -> q.name().equals(name)).findFirst().orElseThrow();
            return p.fileLayout().fileShape(p.shape());
        }
    }

    private Tensor images(long... shape) {
        float[] values = new float[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) Math.sin(i * .7 + i % 13);
        }
        return scope.of(values, shape);
    }

    @Test
    void residualNetworksHaveTheirPublishedSizes() {
        ResNetProvider provider = new ResNetProvider();
        List<Integer> widths = List.of(64, 128, 256, 512);
        Network r18 = Network.of(provider, resNet("basic", List.of(2, 2, 2, 2), widths, "imagenet"), 224, 224, 3);
        Network r50 = Network.of(provider, resNet("bottleneck", List.of(3, 4, 6, 3), widths, "imagenet"), 224, 224, 3);
        // the published counts hold a classifier of 1000 classes
        assertEquals(11_689_512 - 513 * 1000, r18.parameters.count());
        assertEquals(25_557_032 - 2049 * 1000, r50.parameters.count());
        assertEquals(512, r18.encoder.features());
        assertEquals(2048, r50.encoder.features());
        assertTrue(r18.names().containsAll(List.of("conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight",
                "layer1.1.bn2.bias", "layer2.0.downsample.0.weight", "layer2.0.downsample.1.bias", "layer4.1.conv2.weight")));
        assertTrue(r18.names().stream().noneMatch(n -> n.startsWith("layer1.0.downsample") || n.endsWith("conv1.bias")));
        assertTrue(r50.names().containsAll(List.of("layer1.0.downsample.0.weight", "layer3.5.conv3.weight", "layer3.5.bn3.weight")));
        assertTrue(r18.parameters.states().stream().map(State::name).collect(Collectors.toSet())
                .containsAll(List.of("bn1.running_mean", "bn1.running_var", "layer2.0.downsample.1.running_mean")));
        assertArrayEquals(new long[] {64, 3, 7, 7}, r18.shape("conv1.weight"));
        assertArrayEquals(new long[] {128, 64, 1, 1}, r18.shape("layer2.0.downsample.0.weight"));
        Network small = Network.of(provider, new ResNetSettings(), 32, 32, 3);
        assertArrayEquals(new long[] {64, 3, 3, 3}, small.shape("conv1.weight"));
    }

    /** Convolutions by tiles of 4 x 4 outputs, whose error of 3.2e-7 times the root of 64 channels the setting allows. */
    @Test
    void aResNetTradesAllowedErrorForSpeed() {
        float[][] features = new float[3][];
        float[][] gradients = new float[3][];
        for (int i = 0; i < 3; i++) {
            var settings = new ResNetSettings(
                    "basic", List.of(2), List.of(64), "small", false, 0, "uniform", "mask", false, List.of(0., 1e-9, 1e-5).get(i));
            Network net = Network.of(new ResNetProvider(), settings, 16, 16, 3).build(device);
            try (Scope step = device.scope().open()) {
                Tape tape = Tape.on(step);
                Tensor y = net.encoder.forward(Pass.training(tape, new RandomKey(1, 2, 3)), step.attach(images(8, 16, 16, 3)));
                features[i] = y.toArray();
                tape.lastBackward(y.square().mean());
                gradients[i] = net.parameters.all().getFirst().gradient().toArray();
            }
        }
        assertArrayEquals(features[0], features[1], "an error that no tile keeps changes nothing");
        assertArrayEquals(gradients[0], gradients[1]);
        // four convolutions and as many of gradients, each within its error; a batch norm scales it as it scales the values
        assertTrue(difference(features[0], features[2]) < 4 * 3.2e-7 * 8, "features " + difference(features[0], features[2]));
        // a ReLU that the difference turns on or off changes a gradient by all it is
        assertTrue(difference(gradients[0], gradients[2]) < 1e-3, "gradients " + difference(gradients[0], gradients[2]));
        assertTrue(difference(features[0], features[2]) > 0 && difference(gradients[0], gradients[2]) > 0);
        assertThrows(IllegalArgumentException.class, () -> new ResNetSettings(
                "basic", List.of(1), List.of(4), "small", false, 0, "uniform", "mask", false, -1));
    }

    /** Root mean square, relative to the first. */
    private static double difference(float[] a, float[] b) {
        double sum = 0;
        double size = 0;
        for (int i = 0; i < a.length; i++) {
            sum += Math.pow(a[i] - b[i], 2);
            size += Math.pow(a[i], 2);
        }
        return Math.sqrt(sum / size);
    }

    @Test
    void visionTransformersHaveTheirPublishedSizes() {
        Network tiny = Network.of(new VitProvider(), new VitSettings(), 224, 224, 3);
        Network base = Network.of(new VitProvider(), new VitSettings(16, 768, 12, 12, 4, "token", 0, "uniform", "mask", 0, "fused"), 224, 224, 3);
        assertEquals(5_717_416 - 193 * 1000, tiny.parameters.count());
        assertEquals(86_567_656 - 769 * 1000, base.parameters.count());
        assertEquals(192, tiny.encoder.features());
        assertTrue(tiny.names().containsAll(List.of("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
                "blocks.0.norm1.weight", "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias", "blocks.11.attn.proj.weight",
                "blocks.11.norm2.bias", "blocks.11.mlp.fc1.weight", "blocks.11.mlp.fc2.bias", "norm.weight", "norm.bias")));
        assertArrayEquals(new long[] {192, 3, 16, 16}, tiny.shape("patch_embed.proj.weight"));
        assertArrayEquals(new long[] {576, 192}, tiny.shape("blocks.0.attn.qkv.weight"));
        assertArrayEquals(new long[] {1, 197, 192}, tiny.shape("pos_embed"));
        for (Parameter p : tiny.parameters.all()) {
            boolean matrix = p.name().endsWith("weight") && !p.name().contains("norm");
            assertEquals(matrix, p.decay(), p.name());
        }
    }

    @Test
    void convNetIsTheProtocolsEncoder() {
        Network net = Network.of(new ConvNetProvider(), new ConvNetSettings(), 28, 28, 1).build(device);
        assertEquals(9 * (24 + 24 * 48 + 48 * 128) + 2 * (24 + 48 + 128), net.parameters.count());
        assertEquals(128, net.encoder.features());
        assertArrayEquals(new long[] {3, 128}, net.encoder.forward(Pass.inference(scope), images(3, 28, 28, 1)).shape());
        assertArrayEquals(new long[] {2, 128}, net.encoder.forward(Pass.inference(scope), images(2, 17, 11, 1)).shape());
    }

    private List<Network> tinyNetworks() {
        return List.of(
                Network.of(new ConvNetProvider(), new ConvNetSettings(List.of(4, 6), false), 8, 8, 3),
                Network.of(new ResNetProvider(), resNet("basic", List.of(1, 2), List.of(4, 6), "small"), 8, 8, 3),
                Network.of(new ResNetProvider(), resNet("bottleneck", List.of(1, 1), List.of(4, 6), "imagenet"), 16, 16, 3),
                Network.of(new VitProvider(), TINY_VIT, 8, 8, 3),
                Network.of(new VitProvider(), new VitSettings(4, 12, 2, 3, 2, "average", 0, "uniform", "mask", 0, "fused"), 8, 8, 3));
    }

    @Test
    void everyParameterGetsAGradient() {
        for (Network net : tinyNetworks()) {
            net.build(device);
            try (Scope step = scope.open()) {
                Tape tape = Tape.on(step);
                Tensor features = net.encoder.forward(Pass.training(tape, KEY), images(5, 16, 16, 3));
                assertArrayEquals(new long[] {5, net.encoder.features()}, features.shape());
                // a mean of squares alone would be blind where a norm fixes it: weigh the features
                tape.backward(features.square().mul(images(5, net.encoder.features())).sum());
                for (Parameter p : net.parameters.all()) {
                    float[] gradient = p.gradient().toArray();
                    boolean any = false;
                    for (float g : gradient) {
                        assertTrue(Float.isFinite(g), p.name());
                        any |= g != 0;
                    }
                    assertTrue(any, net.encoder.getClass().getSimpleName() + " " + p.name() + " has no gradient");
                }
            }
        }
    }

    @Test
    void transformerGradientsAgreeWithDifferences() {
        Network net = Network.of(new VitProvider(), TINY_VIT, 8, 8, 1).build(device);
        GradientCheck.check(in -> net.encoder.forward(Pass.inference(in[0].scope()), in[0]), images(2, 8, 8, 1));
        GradientCheck.check(in -> net.encoder.forward(Pass.inference(in[0].scope()), in[0]), images(1, 12, 8, 1));
    }

    @Test
    void featuresDoNotDependOnBatchMates() {
        for (Network net : tinyNetworks()) {
            net.build(device);
            Tensor batch = images(4, 16, 16, 3);
            float[] first = net.encoder.forward(Pass.inference(scope), batch).slice(0, 0, 1).toArray();
            Tensor others = Tensor.concat(0, batch.slice(0, 0, 1), images(3, 16, 16, 3).mul(2f).add(1f));
            Tensor features = net.encoder.forward(Pass.inference(scope), others);
            assertArrayEquals(first, features.slice(0, 0, 1).toArray());
            assertFalse(Arrays.equals(first, features.slice(0, 1, 2).toArray()));
        }
    }

    @Test
    void transformerTakesCropsOfOtherSizesButNoFractionsOfPatches() {
        Network net = Network.of(new VitProvider(), TINY_VIT, 16, 16, 1).build(device);
        for (long[] size : new long[][] {{16, 16}, {8, 8}, {24, 16}, {4, 4}}) {
            Tensor features = net.encoder.forward(Pass.inference(scope), images(2, size[0], size[1], 1));
            assertArrayEquals(new long[] {2, 12}, features.shape());
            assertTrue(features.finite());
        }
        String message = assertThrows(TensorException.class,
                () -> net.encoder.forward(Pass.inference(scope), images(2, 10, 16, 1))).getMessage();
        assertEquals("vit: images of 10x16 do not divide into patches of 4x4", message);
        assertThrows(TensorException.class, () -> Network.of(new VitProvider(), TINY_VIT, 15, 16, 1));
    }

    @Test
    void zeroGammaStartsBlocksAsIdentities() {
        ResNetSettings settings = new ResNetSettings("basic", List.of(2), List.of(4), "small", true, 0, "uniform", "mask", false, 0);
        Network deep = Network.of(new ResNetProvider(), settings, 8, 8, 1).build(device);
        ResNetSettings shallowSettings = new ResNetSettings("basic", List.of(1), List.of(4), "small", true, 0, "uniform", "mask", false, 0);
        Network shallow = Network.of(new ResNetProvider(), shallowSettings, 8, 8, 1).build(device);
        Tensor x = images(2, 8, 8, 1);
        assertArrayEquals(shallow.encoder.forward(Pass.inference(scope), x).toArray(),
                deep.encoder.forward(Pass.inference(scope), x).toArray());
    }

    @Test
    void badSettingsAndInputsAreNamed() {
        refused("widths is []; allowed is a list of at least one number from 1 to 65536", () -> new ConvNetSettings(List.of(), false));
        refused("block is wide; allowed is basic or bottleneck",
                () -> resNet("wide", List.of(1), List.of(4), "small"));
        refused("widths is [4]; allowed is as many numbers as depths has",
                () -> resNet("basic", List.of(1, 1), List.of(4), "small"));
        refused("heads is 5; allowed is a divisor of the width 12 that leaves at most 128 dimensions a head",
                () -> new VitSettings(4, 12, 2, 5, 2, "token", 0, "uniform", "mask", 0, "fused"));
        refused("drop_path is 1.0; allowed is 0 (none) to below 1",
                () -> new VitSettings(4, 12, 2, 3, 2, "token", 1, "uniform", "mask", 0, "fused"));
        refused("drop_path_form is some; allowed is mask or subset",
                () -> new ResNetSettings("basic", List.of(1), List.of(4), "small", false, .5, "uniform", "some", false, 0));
        refused("vit encodes images (height, width, channels), not inputs of shape [784]",
                () -> Network.of(new VitProvider(), TINY_VIT, 784));
    }

    private static void refused(String message, org.junit.jupiter.api.function.Executable action) {
        assertEquals(message, assertThrows(IllegalArgumentException.class, action).getMessage());
    }

    @Test
    void areFoundByTheirNames() {
        getClass().getModule().addUses(EncoderProvider.class);
        assertTrue(StreamSupport.stream(ServiceLoader.load(EncoderProvider.class).spliterator(), false)
                .map(EncoderProvider::name).collect(Collectors.toSet()).containsAll(List.of("convnet", "resnet", "vit")));
    }

    @Test
    void aVitSaysHowItsBlocksAreComputed() {
        VitSettings composed = new VitSettings(4, 12, 2, 3, 2, "token", 0, "uniform", "mask", 0, "composed");
        try (Device cpu = Device.cpu(1); Device emulated = Device.emulated()) {
            assertEquals("fused blocks", Network.of(new VitProvider(), TINY_VIT, 8, 8, 3).encoder().form(cpu, DType.F32));
            assertEquals("composed blocks", Network.of(new VitProvider(), TINY_VIT, 8, 8, 3).encoder().form(emulated, DType.F32));
            assertEquals("composed blocks", Network.of(new VitProvider(), composed, 8, 8, 3).encoder().form(cpu, DType.F32));
        }
    }
}
