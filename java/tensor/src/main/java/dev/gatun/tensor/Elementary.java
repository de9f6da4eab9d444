// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.Elementwise;
import org.jspecify.annotations.Nullable;

/** Elementwise operations with broadcasting. Their gradients are written in the same operations, so they can be differentiated again. */
final class Elementary {
    private Elementary() {}

    static Tensor add(Tensor a, Tensor b) {
        return Function.apply(new Add(), a, b);
    }

    static Tensor sub(Tensor a, Tensor b) {
        return Function.apply(new Sub(), a, b);
    }

    static Tensor mul(Tensor a, Tensor b) {
        return Function.apply(new Mul(), a, b);
    }

    static Tensor div(Tensor a, Tensor b) {
        return Function.apply(new Div(), a, b);
    }

    static Tensor addScalar(Tensor a, float value) {
        return Function.apply(new AddScalar(value), a);
    }

    static Tensor mulScalar(Tensor a, float value) {
        return Function.apply(new MulScalar(value), a);
    }

    static Tensor exp(Tensor a) {
        return Function.apply(new Exp(), a);
    }

    static Tensor log(Tensor a) {
        return Function.apply(new Log(), a);
    }

    static Tensor sqrt(Tensor a) {
        return Function.apply(new Sqrt(), a);
    }

    static Tensor square(Tensor a) {
        return Function.apply(new Square(), a);
    }

    /** Operations whose gradient is made of operations like themselves. */
    private interface Composed extends Function {
        @Override
        default boolean twiceDifferentiable() {
            return true;
        }
    }

    private static Tensor binary(FunctionContext c, String name, Elementwise.Binary op, Tensor[] in) {
        if (in[0].dtype() != in[1].dtype()) {
            throw new TensorException(name + ": " + in[0].describe() + " and " + in[1].describe() + " are not of one dtype; to(...) casts");
        }
        Tensor y = c.empty(in[0].dtype(), Shapes.broadcast(name, in[0].shapeArray(), in[1].shapeArray()));
        Kernels.binary(op, in[0], in[1], y);
        return y;
    }

    private static Tensor unary(FunctionContext c, Elementwise.Unary op, Tensor x) {
        Tensor y = c.like(x);
        Kernels.unary(op, x, y);
        return y;
    }

    private static Tensor affine(FunctionContext c, float alpha, Tensor x, float beta) {
        Tensor y = c.like(x);
        Kernels.affine(alpha, x, beta, y);
        return y;
    }

    /** Sums over what broadcasting repeated. */
    private static @Nullable Tensor fit(FunctionContext c, int input, Tensor g) {
        return c.needsGradient(input) ? Reductions.sumTo(g, c.inputShape(input), c.gradientType(input)) : null;
    }

    private record Add() implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            return binary(c, "add", Elementwise.Binary.ADD, in);
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {fit(c, 0, g[0]), fit(c, 1, g[0])};
        }
    }

    private record Sub() implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            return binary(c, "sub", Elementwise.Binary.SUBTRACT, in);
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {fit(c, 0, g[0]), c.needsGradient(1) ? fit(c, 1, g[0].neg()) : null};
        }
    }

    private record Mul() implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            c.save(in);
            return binary(c, "mul", Elementwise.Binary.MULTIPLY, in);
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {
                c.needsGradient(0) ? fit(c, 0, g[0].mul(c.saved(1))) : null,
                c.needsGradient(1) ? fit(c, 1, g[0].mul(c.saved(0))) : null
            };
        }
    }

    private record Div() implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            c.save(in);
            return binary(c, "div", Elementwise.Binary.DIVIDE, in);
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor b = c.saved(1);
            Tensor ga = g[0].div(b);
            return new Tensor[] {
                fit(c, 0, ga), c.needsGradient(1) ? fit(c, 1, ga.mul(c.saved(0)).div(b).neg()) : null
            };
        }
    }

    private record AddScalar(float value) implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            return affine(c, 1f, in[0], value);
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0]};
        }
    }

    private record MulScalar(float value) implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            return affine(c, value, in[0], 0f);
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].mul(value)};
        }
    }

    private record Exp() implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = unary(c, Elementwise.Unary.EXP, in[0]);
            c.save(y);
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].mul(c.saved(0))};
        }
    }

    private record Log() implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            c.save(in);
            return unary(c, Elementwise.Unary.LOG, in[0]);
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].div(c.saved(0))};
        }
    }

    private record Sqrt() implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = unary(c, Elementwise.Unary.SQRT, in[0]);
            c.save(y);
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].mul(.5f).div(c.saved(0))};
        }
    }

    private record Square() implements Composed {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            c.save(in);
            return unary(c, Elementwise.Unary.SQUARE, in[0]);
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].mul(c.saved(0)).mul(2f)};
        }
    }

}
