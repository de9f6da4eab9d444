// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import java.util.List;

/** Whether ours and a peer computed the same. */
final class Agreement {
    private Agreement() {}

    /**
     * Compares results one by one; where the peer returns fewer, the first ones.
     *
     * @param tolerance largest difference over the peer's largest value
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
                        "%s: result %d differs by %.3g of its largest value, allowed %.3g".formatted(form, i, error, tolerance));
            }
        }
    }

    private static double error(String form, float[] ours, float[] theirs) {
        if (ours.length != theirs.length) {
            throw new IllegalStateException(form + ": " + theirs.length + " values, ours " + ours.length);
        }
        double largest = 0;
        double difference = 0;
        for (int i = 0; i < ours.length; i++) {
            largest = Math.max(largest, Math.abs(theirs[i]));
            // max keeps a NaN
            difference = Math.max(difference, Math.abs((double) ours[i] - theirs[i]));
        }
        return largest == 0 ? difference : difference / largest;
    }
}
