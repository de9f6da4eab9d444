// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

/**
 * The keys of the {@code data} section that are the trainer's, whatever the data set.
 *
 * @param batch samples a batch; the last, incomplete batch of an epoch is dropped
 * @param accumulate batches whose gradients are averaged into one update
 */
public record BatchSettings(int batch, int accumulate) {
    /** 256 samples, one update a batch. */
    public BatchSettings() {
        this(256, 1);
    }

    /** Checks the values. */
    public BatchSettings {
        if (batch < 1) {
            throw new IllegalArgumentException("batch: expected at least 1, got " + batch);
        }
        if (accumulate < 1) {
            throw new IllegalArgumentException("accumulate: expected at least 1, got " + accumulate);
        }
    }
}
