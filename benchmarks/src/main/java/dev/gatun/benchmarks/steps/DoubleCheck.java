// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import java.util.List;

/**
 * Whether ours and a peer did the same work, where nobody knows beforehand how far single precision may be off: a ReLU that rounding turns on or off
 * moves the gradients of a deep network by a hundredth. So the peer computes it in double precision too, and ours may be farther from that than its
 * single precision is by a factor, and by the rounding of the result itself.
 */
final class DoubleCheck {
    static final double FACTOR = 2;

    /** Of the result's root mean square. */
    static final double ROUNDING = 1e-6;

    /** A peer whose gradients, all as one vector, are as far off as this computed something else and would excuse any error of ours. */
    static final double LARGEST = 0.05;

    private DoubleCheck() {}

    /**
     * Compares results one by one: the loss, gradients, and as many parameters after the step.
     *
     * @param names of the results
     * @throws IllegalStateException where ours is farther from the exact result than allowed, or the peer far from it
     */
    static void check(String form, List<String> names, List<float[]> ours, List<float[]> peer, List<float[]> exact) {
        if (ours.size() != names.size() || peer.size() != names.size() || exact.size() != names.size()) {
            throw new IllegalStateException("%s: %d results, ours %d, exactly %d".formatted(form, peer.size(), ours.size(), exact.size()));
        }
        double gradients = 0;
        double errors = 0;
        for (int i = 0; i < names.size(); i++) {
            String name = form + ": " + names.get(i);
            float[] truth = exact.get(i);
            double size = squares(name, truth, new float[truth.length]);
            double theirs = squares(name, peer.get(i), truth);
            double found = squares(name, ours.get(i), truth);
            double allowed = FACTOR * Math.sqrt(theirs) + ROUNDING * Math.sqrt(size);
            if (!(Math.sqrt(found) <= allowed)) {
                throw new IllegalStateException("%s: ours is off by %.3g of its size, PyTorch in single precision by %.3g"
                        .formatted(name, Math.sqrt(found / size), Math.sqrt(theirs / size)));
            }
            if (i >= 1 && i <= names.size() / 2) {
                gradients += size;
                errors += theirs;
            }
        }
        if (!(errors <= LARGEST * LARGEST * gradients)) {
            throw new IllegalStateException("%s: its gradients are off by %.3g of their size".formatted(form, Math.sqrt(errors / gradients)));
        }
    }

    private static double squares(String name, float[] a, float[] b) {
        if (a.length != b.length) {
            throw new IllegalStateException(name + ": " + a.length + " values, exactly " + b.length);
        }
        double squares = 0;
        for (int i = 0; i < a.length; i++) {
            double difference = (double) a[i] - b[i];
            squares += difference * difference;
        }
        return squares;
    }
}
