// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * An operation on bf16 against the same on f32, of the same values.
 *
 * <p>The bound. A result that is computed in f32 and stored once is off by u = 2⁻⁸ of itself. What is stored on the way (a softmax that its
 * gradient reads, the normalised rows) is rounded too; how far that moves a result is measured in f32: D is the largest move, of several,
 * when every input and the gradient of the result move by u of themselves, each up or down at random. Two such stored tensors are allowed
 * for, and the cast gradient's own rounding: 2u·max|result| + 2D.
 */
final class HalfPrecision {
    /** Largest relative error of storing a number as bf16. */
    static final double ROUNDING = 0x1p-8;

    private static final int MOVES = 4;

    /** What the gradient of an operation's result is made of: an operation of tensors of one scope. */
    interface Operation {
        Tensor apply(Tensor... inputs);
    }

    /** An input: its shape, its values, and whether it is an activation, which is bf16, or a parameter of a norm, which stays f32. */
    record Input(long[] shape, float[] values, boolean activation) {}

    /** A result and the gradients of all inputs. */
    private record Result(float[] y, List<float[]> gradients) {}

    private final Device device;

    HalfPrecision(Device device) {
        this.device = device;
    }

    /** Values from low to high, bf16 numbers all. */
    static Input activation(float low, float high, long... shape) {
        return new Input(shape, values(.7548776662466927, low, high, shape), true);
    }

    /** As {@link #activation}, but an input that stays f32. */
    static Input parameter(float low, float high, long... shape) {
        return new Input(shape, values(.7548776662466927, low, high, shape), false);
    }

    private static float[] values(double step, float low, float high, long... shape) {
        int n = 1;
        for (long d : shape) {
            n *= (int) d;
        }
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            double t = (i + 3) * step;
            values[i] = rounded((float) (low + (high - low) * (t - Math.floor(t))));
        }
        return values;
    }

    /** The nearest bf16 number. */
    static float rounded(float value) {
        int bits = Float.floatToIntBits(value);
        return Float.intBitsToFloat((bits + 0x7fff + (bits >>> 16 & 1)) & 0xffff0000);
    }

    /** Compares forward and backward; the result has dtype {@code result}. */
    void check(DType result, Operation operation, Input... inputs) {
        float[] dy = gradient(operation, inputs);
        Result expected = run(operation, DType.F32, DType.F32, inputs, dy);
        Result found = run(operation, DType.BF16, result, inputs, dy);
        List<Result> moved = new ArrayList<>();
        SplittableRandom random = new SplittableRandom(7);
        for (int i = 0; i < MOVES; i++) {
            Input[] others = new Input[inputs.length];
            for (int k = 0; k < inputs.length; k++) {
                others[k] = new Input(inputs[k].shape(), moved(inputs[k].values(), random), inputs[k].activation());
            }
            moved.add(run(operation, DType.F32, DType.F32, others, moved(dy, random)));
        }
        compare("result", expected.y(), found.y(), moved.stream().map(Result::y).toList());
        for (int k = 0; k < inputs.length; k++) {
            int input = k;
            compare("gradient of input " + k, expected.gradients().get(k), found.gradients().get(k),
                    moved.stream().map(m -> m.gradients().get(input)).toList());
        }
    }

    private static float[] moved(float[] values, SplittableRandom random) {
        float[] moved = values.clone();
        for (int i = 0; i < moved.length; i++) {
            moved[i] *= (float) (1 + (random.nextBoolean() ? ROUNDING : -ROUNDING));
        }
        return moved;
    }

    private float[] gradient(Operation operation, Input[] inputs) {
        try (Scope scope = device.scope().open()) {
            Tensor[] tensors = new Tensor[inputs.length];
            for (int k = 0; k < inputs.length; k++) {
                tensors[k] = scope.of(inputs[k].values(), inputs[k].shape());
            }
            // not in step with the inputs: what is parallel to them has no gradient through a norm
            return values(.5698402909980532, -1, 2, operation.apply(tensors).shape());
        }
    }

    private Result run(Operation operation, DType activations, DType result, Input[] inputs, float[] dy) {
        try (Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Tensor[] leaves = new Tensor[inputs.length];
            Tensor[] given = new Tensor[inputs.length];
            for (int k = 0; k < inputs.length; k++) {
                leaves[k] = tape.watch(scope.of(inputs[k].values(), inputs[k].shape()));
                given[k] = inputs[k].activation() ? leaves[k].to(activations) : leaves[k];
            }
            Tensor y = operation.apply(given);
            assertEquals(result, y.dtype());
            tape.backward(y, scope.of(dy, dy.length).reshape(y.shape()).to(result));
            List<float[]> gradients = new ArrayList<>();
            for (Tensor leaf : leaves) {
                gradients.add(tape.gradient(leaf).toArray());
            }
            return new Result(y.to(DType.F32).toArray(), gradients);
        }
    }

    private static void compare(String what, float[] expected, float[] found, List<float[]> moved) {
        double size = distance(expected, new float[expected.length]);
        double move = moved.stream().mapToDouble(m -> distance(expected, m)).max().orElseThrow();
        double bound = 2 * ROUNDING * size + 2 * move;
        double error = distance(expected, found);
        assertTrue(error <= bound, what + " is off by " + error + ", more than " + bound);
        assertTrue(4 * bound < size, what + ": a bound of " + bound + " for values of up to " + size + " sees little");
    }

    private static double distance(float[] a, float[] b) {
        assertEquals(a.length, b.length);
        double distance = 0;
        for (int i = 0; i < a.length; i++) {
            double d = Math.abs((double) a[i] - b[i]);
            distance = d > distance || Double.isNaN(d) ? d : distance;
        }
        return distance;
    }
}
