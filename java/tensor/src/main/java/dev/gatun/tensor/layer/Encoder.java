// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

/** A backbone: from a batch of inputs, for images (B, H, W, C), to one vector each, (B, {@link #features}). */
public interface Encoder extends Layer {
    /** Length of the feature vectors. */
    int features();
}
