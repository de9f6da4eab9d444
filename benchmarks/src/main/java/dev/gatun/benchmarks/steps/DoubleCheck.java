// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import java.util.List;

/**
 * Whether ours and a peer did the same work, where nobody knows beforehand how far single precision may be off: a ReLU that rounding turns on or off
 * moves the gradients of a deep network by a hundredth. So the peer computes it in double precision too, and ours may be farther from that than a
 * yardstick is by a factor, and by the rounding of the result itself. The yardstick is the peer in single precision, the worse of its forms; where ours is allowed an error, the
 * peer in double precision whose convolutions' results err by just that, at random: nothing but what it does to ReLUs makes gradients differ by as much.
 * Results are lists of the loss or result, gradients, and parameters after a step.
 */
final class DoubleCheck {
    static final double FACTOR = 2;

    /** Of the result's root mean square. */
    static final double ROUNDING = 1e-6;

    /** A yardstick whose gradients, all as one vector, are as far off as this computed something else and would excuse any error of ours. */
    static final double LARGEST = 0.05;

    private DoubleCheck() {}

    /**
     * Compares the first result and every gradient.
     *
     * @param what is compared: whose results
     * @param first what the first result is
     * @param names of what has a gradient
     * @param yardsticks one or more; for each result the one that is farthest from the exact counts, since each is one sample of what rounding may do
     * @throws IllegalStateException where a result is farther from the exact one than allowed, or a yardstick far from it
     */
    static void gradients(
            String what, String first, List<String> names, List<float[]> results, List<List<float[]>> yardsticks, List<float[]> exact) {
        double size = 0;
        double[] errors = new double[yardsticks.size()];
        for (List<float[]> yardstick : yardsticks) {
            complete(what, 1 + names.size(), results, yardstick, exact);
        }
        for (int i = 0; i <= names.size(); i++) {
            String name = what + ": " + (i == 0 ? first : "gradient of " + names.get(i - 1));
            float[] truth = exact.get(i);
            double farthest = 0;
            for (int y = 0; y < errors.length; y++) {
                double error = distance(name, yardsticks.get(y).get(i), truth);
                farthest = Math.max(farthest, error);
                errors[y] += i > 0 ? error * error : 0;
            }
            within(name, results.get(i), truth, farthest);
            size += i > 0 ? Math.pow(distance(name, truth, new float[truth.length]), 2) : 0;
        }
        for (double error : errors) {
            if (!(error <= LARGEST * LARGEST * size)) {
                throw new IllegalStateException("%s: a yardstick's gradients are off by %.3g of their size".formatted(what, Math.sqrt(error / size)));
            }
        }
    }

    /**
     * Compares every parameter after the step. The exact ones are updated with the gradients of ours: the first steps of Adam take little more than a
     * gradient's sign, which rounding turns where it is almost 0.
     *
     * @param names of the parameters
     * @throws IllegalStateException where ours is farther from the exact value than rounding
     */
    static void update(List<String> names, List<float[]> ours, List<float[]> exact) {
        complete("update", 1 + 2 * names.size(), ours, exact, exact);
        for (int i = 0; i < names.size(); i++) {
            int result = 1 + names.size() + i;
            within(names.get(i) + " after the step", ours.get(result), exact.get(result), 0);
        }
    }

    private static void complete(String form, int results, List<float[]> ours, List<float[]> yardstick, List<float[]> exact) {
        if (ours.size() < results || yardstick.size() != ours.size() || exact.size() != ours.size()) {
            throw new IllegalStateException(
                    "%s: %d results, ours %d, exactly %d, of %d".formatted(form, yardstick.size(), ours.size(), exact.size(), results));
        }
    }

    private static void within(String name, float[] ours, float[] exact, double theirs) {
        double size = distance(name, exact, new float[exact.length]);
        double found = distance(name, ours, exact);
        if (!(found <= FACTOR * theirs + ROUNDING * size)) {
            throw new IllegalStateException("%s: off by %.3g of its size, the yardstick by %.3g"
                    .formatted(name, found / size, theirs / size));
        }
    }

    private static double distance(String name, float[] a, float[] b) {
        if (a.length != b.length) {
            throw new IllegalStateException(name + ": " + a.length + " values, exactly " + b.length);
        }
        double squares = 0;
        for (int i = 0; i < a.length; i++) {
            double difference = (double) a[i] - b[i];
            squares += difference * difference;
        }
        return Math.sqrt(squares);
    }
}
