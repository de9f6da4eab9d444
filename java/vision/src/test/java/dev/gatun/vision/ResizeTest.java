// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.data.Element;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.function.IntBinaryOperator;
import org.junit.jupiter.api.Test;

class ResizeTest {
    private static Element image(int height, int width, int channels, IntBinaryOperator value) {
        byte[] pixels = new byte[height * width * channels];
        for (int i = 0; i < pixels.length; i++) {
            int p = i / channels;
            pixels[i] = (byte) (value.applyAsInt(p / width, p % width) + i % channels);
        }
        return new Element(new long[] {height, width, channels}, MemorySegment.ofArray(pixels));
    }

    private static byte[] centre(Element image, int shorter, int side) {
        Element result = Resize.centre(image, shorter, side);
        assertArrayEquals(new long[] {side, side, image.shape()[2]}, result.shape());
        return result.data().toArray(ValueLayout.JAVA_BYTE);
    }

    @Test
    void sameSizeIsUntouched() {
        Element image = image(9, 9, 3, (y, x) -> 7 * y + 11 * x);
        assertArrayEquals(image.data().toArray(ValueLayout.JAVA_BYTE), centre(image, 9, 9));
    }

    @Test
    void cutsTheCentre() {
        byte[] cut = centre(image(10, 20, 1, (y, x) -> 10 * y + x), 10, 4);
        for (int i = 0; i < 16; i++) {
            assertEquals(10 * (3 + i / 4) + 8 + i % 4, cut[i] & 0xff);
        }
    }

    @Test
    void constantStaysConstant() {
        for (int[] sizes : new int[][] {{50, 31, 13, 11}, {7, 9, 20, 16}, {64, 64, 8, 7}}) {
            byte[] constant = centre(image(sizes[0], sizes[1], 1, (y, x) -> 201), sizes[2], sizes[3]);
            byte[] expected = new byte[constant.length];
            Arrays.fill(expected, (byte) 201);
            assertArrayEquals(expected, constant);
        }
    }

    @Test
    void shrinkingAveragesInsteadOfSkipping() {
        // columns 0 and 255 in turn: plain bilinear sampling at a quarter would see one kind of column only
        byte[] result = centre(image(64, 64, 1, (y, x) -> x % 2 * 255), 16, 16);
        for (int i = 0; i < result.length; i++) {
            assertEquals(127.5, result[i] & 0xff, i % 16 == 0 || i % 16 == 15 ? 20 : 1);
        }
    }

    @Test
    void gradientKeepsItsSlope() {
        byte[] result = centre(image(64, 64, 1, (y, x) -> 2 * y + x), 32, 32);
        for (int y = 2; y < 30; y++) {
            for (int x = 2; x < 30; x++) {
                assertEquals(2 * (2 * y + .5) + 2 * x + .5, result[y * 32 + x] & 0xff, .51);
            }
        }
    }
}
