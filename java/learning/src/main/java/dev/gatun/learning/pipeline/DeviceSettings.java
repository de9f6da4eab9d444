// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import dev.gatun.tensor.Device;

/**
 * The {@code device} section.
 *
 * @param name {@code cpu}, {@code cuda} (or {@code cuda:1}, the second) or {@code emulated}
 * @param threads how many threads the host's work takes; 0 = one a processor. Written resolved, so that a run's file reproduces it
 * @param capture whether a step is recorded once and then launched as a whole, on a device that can; a method whose step does not allow it
 *     is computed operation by operation, which is said
 */
public record DeviceSettings(String name, int threads, boolean capture) {
    /** The CPU with every processor. */
    public DeviceSettings() {
        this("cpu", 0, true);
    }

    /** Checks the values and resolves 0 threads. */
    public DeviceSettings {
        if (!name.matches("cpu|emulated|cuda(:\\d{1,3})?")) {
            throw new IllegalArgumentException("name: no device " + name + "; known devices: cpu, cuda, cuda:N, emulated");
        }
        if (threads < 0 || threads > 1024) {
            throw new IllegalArgumentException("threads: expected 0 to 1024, got " + threads);
        }
        threads = threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
    }

    /**
     * Opens the device.
     *
     * @throws dev.gatun.primitives.GatunException NO_DEVICE where this machine has none; one line
     */
    public Device open() {
        return switch (name) {
            case "cpu" -> Device.cpu(threads);
            case "emulated" -> Device.emulated();
            default -> Device.cuda(name.contains(":") ? Integer.parseInt(name.substring(name.indexOf(':') + 1)) : 0);
        };
    }
}
