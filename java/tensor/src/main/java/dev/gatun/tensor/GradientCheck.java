// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import java.util.Arrays;

/**
 * Compares the gradients of an operation with central differences, in one line:
 * {@code GradientCheck.check(in -> in[0].matmul(in[1]), x, y)}.
 *
 * <p>The operation's result y is reduced to s = Σ wᵢyᵢ with fixed weights in double precision; D(h) = (s(x+h) − s(x−h)) / 2h.
 * The tolerance is derived, not chosen: the truncation error of D(h) is estimated by |D(2h) − D(h)| (it is a third of that where
 * the third derivative dominates), the rounding error of D(h) by ε Σ|wᵢyᵢ| c / h, where c counts roundings of the forward
 * computation, and the analytic gradient may be off by ε of its own scale.
 */
public final class GradientCheck {
    /** An operation under test. */
    @FunctionalInterface
    public interface Operation {
        /** Computes the result from inputs that may be tracked. */
        Tensor apply(Tensor... inputs);
    }

    /** At most so many elements of an input are moved; larger inputs are sampled evenly. */
    private static final int SAMPLES = 96;

    private static final double EPSILON = Math.ulp(1f);
    /** Roundings assumed between an input and a result, in units of the result. */
    private static final double ROUNDINGS = 8;

    private GradientCheck() {}

    /**
     * Checks the gradients with respect to every input.
     *
     * @param inputs f32 tensors, contiguous; moved and restored
     * @throws AssertionError naming the input, the element and both values where they disagree
     */
    public static void check(Operation operation, Tensor... inputs) {
        check(operation, 1.0 / 256, inputs);
    }

    /** As {@link #check(Operation, Tensor...)} with a chosen step relative to max(1, |x|). */
    public static void check(Operation operation, double step, Tensor... inputs) {
        Scope home = inputs[0].scope();
        for (Tensor t : inputs) {
            home = Scope.youngest(home, t.scope());
        }
        try (Scope scope = home.open()) {
            Tape tape = Tape.on(scope);
            Tensor[] watched = new Tensor[inputs.length];
            for (int i = 0; i < inputs.length; i++) {
                watched[i] = tape.watch(inputs[i]);
            }
            Tensor y = operation.apply(watched);
            if (!y.tracked()) {
                throw new AssertionError("the result does not depend on the inputs");
            }
            float[] weights = weights((int) y.elements());
            tape.backward(y, scope.of(weights, y.shape().length == 0 ? new long[] {1} : y.shape()).reshape(y.shape()));
            for (int i = 0; i < inputs.length; i++) {
                compare(operation, inputs, i, tape.gradient(watched[i]).toArray(), weights, step, home);
            }
        }
    }

    private static void compare(
            Operation operation, Tensor[] inputs, int which, float[] gradient, float[] weights, double step, Scope home) {
        float[] values = inputs[which].toArray();
        int stride = Math.max(1, values.length / SAMPLES);
        double scale = 0;
        for (float g : gradient) {
            scale = Math.max(scale, Math.abs(g));
        }
        for (int k = 0; k < values.length; k += stride) {
            double h = step * Math.max(1, Math.abs(values[k]));
            double[] near = difference(operation, inputs, which, values, k, h, weights, home);
            double[] far = difference(operation, inputs, which, values, k, 2 * h, weights, home);
            double truncation = Math.abs(far[0] - near[0]);
            double rounding = ROUNDINGS * EPSILON * (near[1] / h + scale);
            double tolerance = truncation + rounding;
            if (!(Math.abs(gradient[k] - near[0]) <= tolerance)) {
                throw new AssertionError("gradient of input " + which + " " + inputs[which].describe() + " at element " + k + ": "
                        + gradient[k] + ", central difference " + near[0] + ", tolerance " + tolerance);
            }
        }
    }

    /** The central difference and the scale of what was subtracted. */
    private static double[] difference(
            Operation operation,
            Tensor[] inputs,
            int which,
            float[] values,
            int k,
            double h,
            float[] weights,
            Scope home) {
        float up = (float) (values[k] + h);
        float down = (float) (values[k] - h);
        double[] high = value(operation, inputs, which, values, k, up, weights, home);
        double[] low = value(operation, inputs, which, values, k, down, weights, home);
        return new double[] {(high[0] - low[0]) / ((double) up - down), Math.max(high[1], low[1])};
    }

    private static double[] value(
            Operation operation,
            Tensor[] inputs,
            int which,
            float[] values,
            int k,
            float moved,
            float[] weights,
            Scope home) {
        try (Scope scope = home.open()) {
            float[] changed = Arrays.copyOf(values, values.length);
            changed[k] = moved;
            Tensor[] in = new Tensor[inputs.length];
            for (int i = 0; i < in.length; i++) {
                in[i] = scope.attach(inputs[i]);
            }
            in[which] = scope.empty(inputs[which].shape());
            in[which].copyFrom(changed);
            float[] y = operation.apply(in).toArray();
            double sum = 0;
            double magnitude = 0;
            for (int i = 0; i < y.length; i++) {
                sum += (double) weights[i] * y[i];
                magnitude += Math.abs((double) weights[i] * y[i]);
            }
            // roundings of independent terms add like a random walk
            return new double[] {sum, magnitude / Math.sqrt(Math.max(1, y.length)) + EPSILON * magnitude};
        }
    }

    /** Fixed, irregular, of order 1, none near 0: no symmetry of the result can hide an error. */
    private static float[] weights(int n) {
        float[] w = new float[n];
        for (int i = 0; i < n; i++) {
            double t = (i + 1) * 0.6180339887498949;
            double u = t - Math.floor(t);
            w[i] = (float) (u < .5 ? -1.25 + u : u + .25);
        }
        return w;
    }
}
