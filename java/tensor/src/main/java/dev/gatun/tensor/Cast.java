// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;

/** The same values stored in another floating type, each rounded once; the gradient is cast back. */
record Cast(DType to) implements Function {
    static Tensor apply(Tensor x, DType to) {
        if (x.dtype() == to) {
            return x;
        }
        require(x, to);
        return Function.apply(new Cast(to), x);
    }

    /** Fails in one line where there is no such cast, or the device computes in f32 only. */
    static void require(Tensor x, DType to) {
        if (!to.floating() || !x.dtype().floating()) {
            throw new TensorException("to " + to + ": casts are between f32, bf16 and f16, given " + x.describe());
        }
        for (DType type : new DType[] {x.dtype(), to}) {
            if (!x.device().stores(type)) {
                throw new TensorException("the device " + x.device().name() + " has no arithmetic in " + type + "; cuda and emulated have");
            }
        }
    }

    @Override
    public String name() {
        return "to(" + to + ")";
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor y = c.empty(to, in[0].shapeArray());
        Kernels.copy(in[0], y);
        return y;
    }

    @Override
    public Tensor[] backward(FunctionContext c, Tensor... g) {
        return new Tensor[] {g[0].to(c.gradientType(0))};
    }

    @Override
    public boolean twiceDifferentiable() {
        return true;
    }
}
