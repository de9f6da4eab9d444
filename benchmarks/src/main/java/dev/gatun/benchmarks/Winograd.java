// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

/** Rows in which ours may err for speed: convolutions then go by Winograd's filtering where that is faster. Their shape's name says so. */
public final class Winograd {
    /** Root mean square of a convolution's error over that of its result. */
    public static final double ALLOWED_ERROR = 1e-5;

    private static final String SUFFIX = "-winograd";

    private Winograd() {}

    /** Whether the name of a shape, or of a row, says it. */
    public static boolean allowed(String name) {
        return name.contains(SUFFIX);
    }

    /** The error that a shape's name allows: 0 where it allows none. */
    public static double allowedError(String shape) {
        return allowed(shape) ? ALLOWED_ERROR : 0;
    }

    /** The shape's name without it. */
    public static String shape(String name) {
        return name.replace(SUFFIX, "");
    }
}
