// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import java.util.List;

/** Checks of settings; a failed one names the key, the range and the value in one line. */
public final class Ranges {
    private Ranges() {}

    /** Fails unless {@code value} is at least {@code bound}. */
    public static void atLeast(String key, double value, double bound) {
        if (!(value >= bound)) {
            throw new IllegalArgumentException(key + ": expected at least " + text(bound) + ", got " + text(value));
        }
    }

    /** Fails unless {@code value} is above {@code bound}. */
    public static void above(String key, double value, double bound) {
        if (!(value > bound)) {
            throw new IllegalArgumentException(key + ": expected more than " + text(bound) + ", got " + text(value));
        }
    }

    /** Fails unless {@code value} is in [{@code low}, {@code high}]. */
    public static void within(String key, double value, double low, double high) {
        if (!(value >= low && value <= high)) {
            throw new IllegalArgumentException(key + ": expected " + text(low) + " to " + text(high) + ", got " + text(value));
        }
    }

    /** Fails unless {@code value} is in [0, 1). */
    public static void part(String key, double value) {
        if (!(value >= 0 && value < 1)) {
            throw new IllegalArgumentException(key + ": expected 0 to below 1, got " + text(value));
        }
    }

    /** Fails unless a projection head's widths are positive. */
    public static void head(List<Integer> hidden, int output) {
        hidden.forEach(width -> atLeast("hidden", width, 1));
        atLeast("output", output, 1);
    }

    private static String text(double value) {
        return value == Math.rint(value) && Math.abs(value) < 1e15 ? Long.toString((long) value) : Double.toString(value);
    }
}
