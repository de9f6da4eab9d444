// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import java.util.List;

/**
 * One group of crops of the {@code multi-crop} views: {@code count} views that are drawn alike. Probabilities are per
 * sample and view; every range is [smallest, largest].
 *
 * @param role {@code global} or {@code local}
 * @param count how many views
 * @param size their side in pixels
 * @param area range of the crop's area, as a share of the image's; uniform
 * @param aspect range of the crop's width over height; uniform in the logarithm
 * @param flip probability of a horizontal flip
 * @param jitter probability of a change of brightness and contrast
 * @param brightness the factor is uniform in [1 - brightness, 1 + brightness]
 * @param contrast the factor, about the crop's mean, is uniform in [1 - contrast, 1 + contrast]
 * @param blur probability of a Gaussian blur
 * @param blurKernel taps of the blur along a side, odd
 * @param blurSigma range of the blur's standard deviation in pixels; uniform
 * @param noise standard deviation of Gaussian noise on pixels in [0, 1]; 0: none
 */
public record CropSettings(
        String role,
        int count,
        int size,
        List<Double> area,
        List<Double> aspect,
        double flip,
        double jitter,
        double brightness,
        double contrast,
        double blur,
        int blurKernel,
        List<Double> blurSigma,
        double noise) {
    /** Two global crops as the Fashion-MNIST protocol draws them. */
    public CropSettings() {
        this("global", 2, 28, List.of(.3, 1.), List.of(3 / 4., 4 / 3.), .5, .8, .4, .4, .3, 3, List.of(.1, 2.), 0);
    }

    /** Checks every value; the message is one line that names the key and what it allows. */
    public CropSettings {
        require(role.equals("global") || role.equals("local"), "role", role, "global or local");
        require(count >= 1, "count", count, "at least 1");
        require(size >= 1 && size <= 4096, "size", size, "1 to 4096");
        range(area, "area", 0, 1);
        range(aspect, "aspect", .01, 100);
        probability(flip, "flip");
        probability(jitter, "jitter");
        require(brightness >= 0 && brightness <= 1, "brightness", brightness, "0 to 1");
        require(contrast >= 0 && contrast <= 1, "contrast", contrast, "0 to 1");
        probability(blur, "blur");
        require(blurKernel >= 1 && blurKernel <= 63 && blurKernel % 2 == 1, "blur_kernel", blurKernel, "an odd number from 1 to 63");
        range(blurSigma, "blur_sigma", 0, 100);
        require(noise >= 0 && noise <= 1, "noise", noise, "0 to 1");
        area = List.copyOf(area);
        aspect = List.copyOf(aspect);
        blurSigma = List.copyOf(blurSigma);
    }

    private static void probability(double value, String key) {
        require(value >= 0 && value <= 1, key, value, "0 to 1");
    }

    private static void range(List<Double> values, String key, double above, double most) {
        require(values.size() == 2 && values.get(0) > above && values.get(0) <= values.get(1) && values.get(1) <= most, key, values,
                "[smallest, largest] with " + above + " < smallest <= largest <= " + most);
    }

    private static void require(boolean holds, String key, Object value, String allowed) {
        if (!holds) {
            throw new IllegalArgumentException(key + " is " + value + "; allowed is " + allowed);
        }
    }
}
