// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

/**
 * The {@code data} section for a folder of images.
 *
 * @param path the training images: one sub-folder a class, or images without labels
 * @param test the test images, laid out in the same way; empty: there are none
 * @param channels 3 for colour, 1 for grey
 * @param images how many training images the method sees, a random subset by the experiment's seed; 0: all
 * @param cacheMib MiB of decoded training images that are kept in memory, so that they are decoded once and not in every epoch; 0: none
 */
public record ImageFolderSettings(String path, String test, int channels, int images, int cacheMib) {
    /** Colour, all images, 512 MiB of them kept; a pipeline has to name the path. */
    public ImageFolderSettings() {
        this("", "", 3, 0, 512);
    }

    /** Of which none is kept. */
    public ImageFolderSettings(String path, String test, int channels, int images) {
        this(path, test, channels, images, 0);
    }
}
