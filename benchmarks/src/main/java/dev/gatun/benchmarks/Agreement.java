// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import java.util.List;

/** Whether ours and a peer computed the same. */
final class Agreement {
    private Agreement() {}

    /**
     * Compares results one by one; where the peer returns fewer, the first ones.
     *
     * @param tolerance largest root mean square of the differences, over that of the peer's values
     * @throws IllegalStateException where they differ by more, in length, or in where they are not numbers
     */
    static void check(String form, List<float[]> ours, List<float[]> theirs, double tolerance) {
        if (theirs.size() > ours.size()) {
            throw new IllegalStateException(form + ": " + theirs.size() + " results, ours " + ours.size());
        }
        for (int i = 0; i < theirs.size(); i++) {
            double error = error(form, ours.get(i), theirs.get(i));
            if (!(error <= tolerance)) {
                throw new IllegalStateException(
                        "%s: result %d differs by %.3g, allowed %.3g".formatted(form, i, error, tolerance));
            }
        }
    }

    private static double error(String form, float[] ours, float[] theirs) {
        if (ours.length != theirs.length) {
            throw new IllegalStateException(form + ": " + theirs.length + " values, ours " + ours.length);
        }
        double squares = 0;
        double differences = 0;
        for (int i = 0; i < ours.length; i++) {
            double difference = (double) ours[i] - theirs[i];
            squares += (double) theirs[i] * theirs[i];
            differences += difference * difference;
        }
        return squares == 0 ? Math.sqrt(differences) : Math.sqrt(differences / squares);
    }
}
