// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import java.util.List;
import java.util.Map;

/**
 * Whether ours and a peer did the same work, where nobody knows beforehand how far single precision may be off: a ReLU that rounding turns on or off
 * moves the gradients of a deep network by a hundredth. So the peer computes it in double precision too, and ours may be farther from that than a
 * yardstick is by a factor, and by the rounding of the result itself. Yardsticks are the peer's forms in single precision. Where ours is allowed an
 * error they are the peer in double precision whose convolutions err by just that, at random: what this does to ReLUs moves gradients by far more
 * than the error itself. Results are lists of the loss or result, gradients, and, after a step, parameters.
 *
 * @param first what the first result is
 * @param names of what has a gradient
 * @param exact results in double precision
 * @param largest what a yardstick's gradients, all as one vector, may be off by: one that is farther off computed something else, and would excuse
 *     any error of ours
 */
record DoubleCheck(String first, List<String> names, List<float[]> exact, double largest) {
    static final double FACTOR = 2;

    /** Of the result's root mean square. */
    static final double ROUNDING = 1e-6;

    /** {@link #largest} of networks with ReLUs, whose gradients single precision moves by a hundredth. */
    static final double RELUS = 0.05;

    /** {@link #largest} of networks without: measured are errors of 1e-5. */
    static final double SMOOTH = 1e-3;

    /**
     * Compares the first result and every gradient.
     *
     * @param who has computed the results
     * @param yardsticks by name; for each result the farthest from the exact one counts, since each is one sample of what rounding may do
     * @throws IllegalStateException where a result is farther from the exact one than allowed, or a yardstick far from it
     */
    void gradients(String who, List<float[]> results, Map<String, List<float[]>> yardsticks) {
        double[] farthest = new double[1 + names.size()];
        yardsticks.forEach((yardstick, values) -> {
            complete(yardstick, 1 + names.size(), values);
            double size = 0;
            double error = 0;
            for (int i = 0; i < farthest.length; i++) {
                double distance = distance(yardstick + ": " + name(i), values.get(i), exact.get(i));
                farthest[i] = Math.max(farthest[i], distance);
                if (i > 0) {
                    error += distance * distance;
                    size += Math.pow(size(i), 2);
                }
            }
            if (!(error <= largest * largest * size)) {
                throw new IllegalStateException("%s: its gradients are off by %.3g of their size".formatted(yardstick, Math.sqrt(error / size)));
            }
        });
        complete(who, 1 + names.size(), results);
        for (int i = 0; i < farthest.length; i++) {
            within(who + ": " + name(i), i, results.get(i), farthest[i]);
        }
    }

    /**
     * Compares every parameter after the step. The exact ones are updated with the gradients of ours: the first steps of Adam take little more than a
     * gradient's sign, which rounding turns where it is almost 0.
     *
     * @throws IllegalStateException where ours is farther from the exact value than rounding
     */
    void update(List<float[]> ours) {
        complete("update", 1 + 2 * names.size(), ours);
        for (int i = 0; i < names.size(); i++) {
            int result = 1 + names.size() + i;
            within(names.get(i) + " after the step", result, ours.get(result), 0);
        }
    }

    private String name(int result) {
        return result == 0 ? first : "gradient of " + names.get(result - 1);
    }

    private double size(int result) {
        return distance(first, exact.get(result), new float[exact.get(result).length]);
    }

    private void complete(String who, int least, List<float[]> results) {
        if (results.size() < least || results.size() != exact.size()) {
            throw new IllegalStateException("%s: %d results, exactly %d, at least %d".formatted(who, results.size(), exact.size(), least));
        }
    }

    private void within(String name, int result, float[] values, double yardstick) {
        double size = size(result);
        double found = distance(name, values, exact.get(result));
        if (!(found <= FACTOR * yardstick + ROUNDING * size)) {
            throw new IllegalStateException(
                    "%s: off by %.3g of its size, the yardstick by %.3g".formatted(name, found / size, yardstick / size));
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
