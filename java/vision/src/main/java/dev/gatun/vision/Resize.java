// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.Element;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Resizing for evaluation: bilinear, and with a triangle as wide as the reduction when it shrinks (antialiasing), so
 * that no pixel of the source is skipped.
 */
final class Resize {
    private Resize() {}

    /**
     * Resizes an image so that its shorter side has {@code shorter} pixels, and cuts out the centre.
     *
     * @param image (height, width, channels)
     * @param shorter at least {@code side}
     * @param side the result's height and width
     */
    static Element centre(Element image, int shorter, int side) {
        int height = (int) image.shape()[0];
        int width = (int) image.shape()[1];
        int channels = (int) image.shape()[2];
        double scale = Math.min(height, width) / (double) shorter;
        int newHeight = Math.max(shorter, (int) Math.round(height / scale));
        int newWidth = Math.max(shorter, (int) Math.round(width / scale));
        byte[] source = image.data().toArray(ValueLayout.JAVA_BYTE);
        Taps rows = new Taps(height, newHeight, (newHeight - side) / 2, side);
        Taps columns = new Taps(width, newWidth, (newWidth - side) / 2, side);
        float[] across = new float[height * side * channels];
        for (int y = rows.first(); y < rows.last(); y++) {
            for (int x = 0; x < side; x++) {
                for (int c = 0; c < channels; c++) {
                    float sum = 0;
                    for (int t = 0; t < columns.weights[x].length; t++) {
                        sum += columns.weights[x][t] * (source[(y * width + columns.start[x] + t) * channels + c] & 0xff);
                    }
                    across[(y * side + x) * channels + c] = sum;
                }
            }
        }
        byte[] result = new byte[side * side * channels];
        for (int y = 0; y < side; y++) {
            for (int i = 0; i < side * channels; i++) {
                float sum = 0;
                for (int t = 0; t < rows.weights[y].length; t++) {
                    sum += rows.weights[y][t] * across[(rows.start[y] + t) * side * channels + i];
                }
                result[y * side * channels + i] = (byte) Math.clamp(Math.round(sum), 0, 255);
            }
        }
        return new Element(new long[] {side, side, channels}, MemorySegment.ofArray(result));
    }

    /** For each of some target positions, which source positions it sums, and with which weights. */
    private static final class Taps {
        final int[] start;
        final float[][] weights;

        Taps(int source, int target, int from, int count) {
            start = new int[count];
            weights = new float[count][];
            double scale = source / (double) target;
            double radius = Math.max(1, scale);
            for (int i = 0; i < count; i++) {
                double centre = (from + i + .5) * scale;
                int low = Math.max(0, (int) Math.floor(centre - radius + .5));
                int high = Math.min(source, (int) Math.floor(centre + radius + .5));
                double[] w = new double[high - low];
                double total = 0;
                for (int t = 0; t < w.length; t++) {
                    w[t] = Math.max(0, 1 - Math.abs(low + t + .5 - centre) / radius);
                    total += w[t];
                }
                start[i] = low;
                weights[i] = new float[w.length];
                for (int t = 0; t < w.length; t++) {
                    weights[i][t] = (float) (w[t] / total);
                }
            }
        }

        int first() {
            return start[0];
        }

        int last() {
            return start[start.length - 1] + weights[weights.length - 1].length;
        }
    }
}
