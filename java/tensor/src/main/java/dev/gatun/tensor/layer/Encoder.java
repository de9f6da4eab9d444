// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Device;

/** A backbone: from a batch of inputs, for images (B, H, W, C), to one vector each, (B, {@link #features}). */
public interface Encoder extends Layer {
    /** Length of the feature vectors. */
    int features();

    /**
     * How it is computed where a device has more than one way that give the same results but for rounding, for reports.
     *
     * @param type what it computes in
     * @return for example {@code fused blocks}; empty if there is one way only
     */
    default String form(Device device, DType type) {
        return "";
    }
}
