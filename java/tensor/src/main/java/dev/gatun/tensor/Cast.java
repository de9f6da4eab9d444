// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;

/** The same values stored in another floating type, each rounded once; the gradient is cast back. */
record Cast(DType to) implements Function {
    static Tensor apply(Tensor x, DType to) {
        if (x.dtype() == to) {
            return x;
        }
        if (!to.floating() || !x.dtype().floating()) {
            throw new TensorException("to(" + to + "): casts are between f32, bf16 and f16, given " + x.describe());
        }
        requireStored(x.device(), to);
        requireStored(x.device(), x.dtype());
        return Function.apply(new Cast(to), x);
    }

    /** Fails in one line where a device computes in f32 only. */
    static void requireStored(Device device, DType type) {
        if (!device.stores(type)) {
            throw new TensorException("the device " + device.name() + " has no arithmetic in " + type + "; cuda and emulated have");
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
