// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

/**
 * The {@code checkpoint} section.
 *
 * @param everyEpochs a checkpoint is written after every so many epochs, and after the last; at least 1
 * @param everySteps also after every so many steps; 0 = not
 * @param backbone a file of backbone weights to start from; empty = a fresh start
 */
public record CheckpointSettings(int everyEpochs, int everySteps, String backbone) {
    /** One checkpoint an epoch, fresh start. */
    public CheckpointSettings() {
        this(1, 0, "");
    }

    /** Checks the values. */
    public CheckpointSettings {
        if (everyEpochs < 1 || everySteps < 0) {
            throw new IllegalArgumentException("every_epochs is at least 1 and every_steps at least 0");
        }
    }
}
