// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.util.Arrays;
import java.util.Locale;

/** What a library of Gatun computes on. All have the same interface. */
public enum DeviceKind {
    /** The processor. */
    CPU("libgatun.so", "gatun.library"),
    /** A CUDA device of compute capability 8.0 or above. */
    CUDA("libgatun_cuda.so", "gatun.library.cuda"),
    /** The CUDA sources on the processor, for tests: slow and strict. */
    EMULATED("libgatun_emulated.so", "gatun.library.emulated");

    private final String file;
    private final String property;

    DeviceKind(String file, String property) {
        this.file = file;
        this.property = property;
    }

    /** The shared object's file name. */
    public String file() {
        return file;
    }

    /** The system property that may name the file. */
    String property() {
        return property;
    }

    /**
     * The kind that a configuration names.
     *
     * @throws GatunException INVALID_ARGUMENT with the names there are
     */
    public static DeviceKind of(String name) {
        for (DeviceKind kind : values()) {
            if (kind.toString().equals(name)) {
                return kind;
            }
        }
        throw GatunException.invalid("device", "there is no device " + name + "; allowed are " + Arrays.toString(values()));
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
