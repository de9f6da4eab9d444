// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

/**
 * The {@code data} section for Fashion-MNIST.
 *
 * @param path the folder that holds the four IDX files; empty: look in the usual places
 * @param images how many training images the method sees, a random subset by the experiment's seed; 0: all 60,000
 */
public record FashionMnistSettings(String path, int images) {
    /** The usual places, all images. */
    public FashionMnistSettings() {
        this("", 0);
    }
}
