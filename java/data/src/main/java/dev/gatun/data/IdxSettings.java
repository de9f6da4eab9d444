// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.List;

/**
 * The {@code data} section for IDX files.
 *
 * @param trainImages the file of the training images
 * @param trainLabels the file of their labels; empty: there are none
 * @param testImages the file of the test images; empty: there are none
 * @param testLabels the file of their labels; empty: there are none
 * @param classNames one name a class; empty: the classes are numbered
 * @param images how many training images the method sees, a random subset by the experiment's seed; 0: all
 */
public record IdxSettings(
        String trainImages, String trainLabels, String testImages, String testLabels, List<String> classNames, int images) {
    /** No files: a pipeline has to name at least the training images. */
    public IdxSettings() {
        this("", "", "", "", List.of(), 0);
    }
}
