// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

/**
 * The {@code device} section.
 *
 * @param name the device; {@code cpu} is the one there is
 * @param threads how many threads; 0 = one a processor. Written resolved, so that a run's file reproduces it
 */
public record DeviceSettings(String name, int threads) {
    /** The CPU with every processor. */
    public DeviceSettings() {
        this("cpu", 0);
    }

    /** Checks the values and resolves 0 threads. */
    public DeviceSettings {
        if (!name.equals("cpu")) {
            throw new IllegalArgumentException("name: no device " + name + "; known devices: cpu");
        }
        if (threads < 0 || threads > 1024) {
            throw new IllegalArgumentException("threads: expected 0 to 1024, got " + threads);
        }
        threads = threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
    }
}
