// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.tensor.Device;
import dev.gatun.tensor.GradientCheck;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class SobelTest {
    private static final int SIZE = 6;

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

    private interface Picture {
        float at(int row, int column, int channel);
    }

    private Tensor image(Picture picture) {
        float[] values = new float[SIZE * SIZE * 3];
        for (int i = 0; i < values.length; i++) {
            values[i] = picture.at(i / 3 / SIZE, i / 3 % SIZE, i % 3);
        }
        return scope.of(values, 1, SIZE, SIZE, 3);
    }

    /** The responses away from the border: [row][column][channel]. */
    private float[][][] inside(Tensor image) {
        float[] y = new Sobel(3).forward(Pass.inference(scope), image).toArray();
        assertEquals(SIZE * SIZE * 2, y.length);
        float[][][] inside = new float[SIZE - 2][SIZE - 2][2];
        for (int row = 0; row < SIZE - 2; row++) {
            for (int column = 0; column < SIZE - 2; column++) {
                System.arraycopy(y, ((row + 1) * SIZE + column + 1) * 2, inside[row][column], 0, 2);
            }
        }
        return inside;
    }

    @Test
    void respondsToEdgesAcrossAndAlong() {
        float[][][] flat = inside(image((row, column, channel) -> .5f));
        float[][][] vertical = inside(image((row, column, channel) -> column < 3 ? 2 : 0));
        float[][][] horizontal = inside(image((row, column, channel) -> row < 3 ? 2 : 0));
        for (int row = 0; row < SIZE - 2; row++) {
            for (int column = 0; column < SIZE - 2; column++) {
                assertArrayEquals(new float[] {0, 0}, flat[row][column], 1e-6f);
                // the edge lies between the columns 2 and 3 of the image, 1 and 2 of what is inside; 4 = 1 + 2 + 1 rows
                float edge = column == 1 || column == 2 ? 8 : 0;
                assertArrayEquals(new float[] {edge, 0}, vertical[row][column], 1e-5f);
                edge = row == 1 || row == 2 ? 8 : 0;
                assertArrayEquals(new float[] {0, edge}, horizontal[row][column], 1e-5f);
            }
        }
    }

    @Test
    void seesTheMeanOfTheChannels() {
        float[][][] grey = inside(image((row, column, channel) -> row * 2f + column * column));
        float[][][] red = inside(image((row, column, channel) -> channel == 0 ? 3 * (row * 2f + column * column) : 0));
        for (int row = 0; row < SIZE - 2; row++) {
            for (int column = 0; column < SIZE - 2; column++) {
                assertArrayEquals(grey[row][column], red[row][column], 1e-4f);
            }
        }
        GradientCheck.check(
                in -> new Sobel(3).forward(Pass.inference(in[0].scope()), in[0]), image((row, column, channel) -> row - channel));
    }

    private record Network(Encoder encoder, Parameters parameters) {}

    private Network network(EncoderProvider provider, Record settings) {
        Parameters parameters = Parameters.create();
        Encoder encoder = provider.create(settings, parameters, new long[] {SIZE, SIZE, 3});
        parameters.build(device, 5);
        return new Network(encoder, parameters);
    }

    @Test
    void isNoPartOfTheParameters() {
        Tensor x = image((row, column, channel) -> row * column * (1 + channel));
        for (Network net : List.of(
                network(new ConvNetProvider(), new ConvNetSettings(List.of(4), true)),
                network(new ResNetProvider(), new ResNetSettings("basic", List.of(1), List.of(4), "small", false, 0, "uniform",
                        "mask", true, 0)))) {
            assertArrayEquals(new long[] {4, 3, 3, 2}, net.parameters.all().getFirst().shape());
            assertTrue(net.parameters.all().stream().noneMatch(p -> p.name().contains("sobel")));
            assertTrue(net.parameters.states().stream().noneMatch(s -> s.name().contains("sobel")));
            // the network's features are those of the edges: a colour that keeps the mean keeps them
            Tensor swapped = image((row, column, channel) -> row * column * (3 - channel));
            assertArrayEquals(net.encoder.forward(Pass.inference(scope), x).toArray(),
                    net.encoder.forward(Pass.inference(scope), swapped).toArray(), 1e-3f);
            assertEquals(4, net.encoder.features());
        }
    }
}
