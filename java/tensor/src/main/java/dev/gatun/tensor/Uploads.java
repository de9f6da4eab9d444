// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;

/** What comes to a device from the host beside its computation. On the CPU the same calls fill the memory in place. */
public final class Uploads {
    private final Device device;

    Uploads(Device device) {
        this.device = device;
    }

    /**
     * Memory for a tensor that the host fills again and again; the caller closes it before the device.
     *
     * @param type its type
     * @param shape its shape
     */
    public UploadTarget target(DType type, long... shape) {
        return new UploadTarget(device, type, shape);
    }
}
