// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import java.util.List;

/**
 * The {@code views} section for multi-crop views (SwAV, section 3.3). The defaults are the Fashion-MNIST protocol.
 *
 * @param crops the groups of crops, global ones first
 * @param mean the mean of the pixels, scaled to [0, 1]: one number, or one a channel
 * @param std their standard deviation: one number, or one a channel
 * @param plainSize side in pixels of the images that an evaluation sees; 0: as the first group of crops
 * @param plainResize an image is resized so that its shorter side has this many pixels, then its centre is cropped; 0: the
 *     plain size, so that an image of that size stays as it is
 */
public record MultiCropSettings(List<CropSettings> crops, List<Double> mean, List<Double> std, int plainSize, int plainResize) {
    /** Two global crops of Fashion-MNIST. */
    public MultiCropSettings() {
        this(List.of(new CropSettings()), List.of(.286), List.of(.353), 0, 0);
    }

    /** Checks every value; the message is one line that names the key and what it allows. */
    public MultiCropSettings {
        require(!crops.isEmpty(), "crops", crops, "at least one group");
        boolean local = false;
        for (CropSettings crop : crops) {
            require(!local || crop.role().equals("local"), "crops", "a global group after a local one", "global groups first");
            local |= crop.role().equals("local");
        }
        require(crops.getFirst().role().equals("global"), "crops", "only local groups", "at least one global group");
        require(mean.size() == 1 || mean.size() == 3, "mean", mean, "one number, or one a channel");
        require(std.size() == mean.size() && std.stream().allMatch(s -> s > 0), "std", std,
                "as many numbers as mean has, above 0");
        require(plainSize >= 0, "plain_size", plainSize, "at least 0");
        int side = plainSize == 0 ? crops.getFirst().size() : plainSize;
        require(plainResize == 0 || plainResize >= side, "plain_resize", plainResize, "0, or at least the plain size " + side);
        crops = List.copyOf(crops);
        mean = List.copyOf(mean);
        std = List.copyOf(std);
    }

    private static void require(boolean holds, String key, Object value, String allowed) {
        if (!holds) {
            throw new IllegalArgumentException(key + " is " + value + "; allowed is " + allowed);
        }
    }

    /** The side of plain images. */
    int side() {
        return plainSize == 0 ? crops.getFirst().size() : plainSize;
    }

    /** The shorter side that images are resized to before their centre is cropped. */
    int resize() {
        return plainResize == 0 ? side() : plainResize;
    }
}
