// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.Element;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** The two directions between stored bytes and the normalised numbers that a network sees: (byte / 255 - mean) / std. */
final class PixelScale {
    private final float[] mean;
    private final float[] std;

    PixelScale(List<Double> mean, List<Double> std, int channels) {
        if (mean.size() != 1 && mean.size() != channels) {
            throw new IllegalArgumentException(
                    "views.mean has " + mean.size() + " numbers, but the images have " + channels + " channels");
        }
        this.mean = new float[channels];
        this.std = new float[channels];
        for (int c = 0; c < channels; c++) {
            int from = mean.size() == 1 ? 0 : c;
            this.mean[c] = mean.get(from).floatValue();
            this.std[c] = std.get(from).floatValue();
        }
    }

    float[] mean() {
        return mean.clone();
    }

    float[] std() {
        return std.clone();
    }

    /** The bytes of one image of (batch, height, width, channels), clamped to what bytes can hold. */
    Element bytes(Tensor images, int row) {
        if (images.rank() != 4 || images.size(3) != mean.length) {
            throw new IllegalArgumentException("a picture is drawn from (batch, height, width, " + mean.length + "), not " + images.describe());
        }
        float[] values = images.slice(0, row, row + 1).toArray();
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < bytes.length; i++) {
            int c = i % mean.length;
            bytes[i] = (byte) Math.clamp(Math.round((values[i] * std[c] + mean[c]) * 255), 0, 255);
        }
        return new Element(new long[] {images.size(1), images.size(2), images.size(3)}, MemorySegment.ofArray(bytes));
    }
}
