// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.Operand;

/**
 * Runs in a process of its own, as {@link CublasLtProbe} does: convolutions through the JavaCPP binding of cuDNN on the emulated device, whose
 * memory a stand-in for the library reads, against Gatun's own kernels there. Prints {@code done N} or the first line of what went wrong.
 */
final class CudnnProbe {
    private static final CudaSettings CUDNN =
            CudaSettings.DEFAULT.withGemm(CudaSettings.Products.GATUN).withConvolution(CudaSettings.Convolutions.CUDNN);

    /** What a convolution and its gradients are computed to. */
    private record Results(float[] y, float[] dx, float[] dw, float[] db) {
        float[][] all() {
            return new float[][] {y, dx, dw, db};
        }
    }

    private int checked;

    private CudnnProbe() {}

    public static void main(String[] arguments) {
        try (Device own = Device.emulated(); Device library = Device.emulated(CUDNN)) {
            CudnnProbe probe = new CudnnProbe();
            for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                probe.compare(own, library, dtype, new long[] {2, 6, 5, 3, 4, 3, 3}, Geometry.of(1, 1));
                probe.compare(own, library, dtype, new long[] {1, 7, 8, 4, 6, 3, 2}, new Geometry(2, 1, 1, 1, 0, 0, 1, 2, 2));
                probe.compare(own, library, dtype, new long[] {2, 4, 4, 8, 8, 3, 3}, Geometry.of(1, 1, 1, 8));
                probe.compare(own, library, dtype, new long[] {3, 5, 5, 8, 2, 1, 1}, Geometry.of(2, 0));
            }
            probe.refusals(library);
            System.out.println(library.convolution().name() + " done " + probe.checked);
        } catch (GatunException e) {
            System.out.println(e.status() + " " + e.getMessage());
        }
    }

    /** Sizes: B, H, W, C, O, KH, KW. */
    private void compare(Device own, Device library, DType dtype, long[] s, Geometry g) {
        float[][] expected = run(own, dtype, s, g, false).all();
        float[][] got = run(library, dtype, s, g, true).all();
        // of magnitudes, every result is the sum of its terms' magnitudes
        float[][] sizes = run(own, dtype, s, g, false, true).all();
        long terms = Math.max(s[0] * s[1] * s[2], s[5] * s[6] * Math.max(s[3], s[4])) + 4;
        for (int i = 0; i < got.length; i++) {
            for (int j = 0; j < got[i].length; j++) {
                // sums in any order on both sides; in bf16 each side stores once, and the library once more
                double bound = sizes[i][j] * (2 * terms * 0x1p-24 + (dtype == DType.BF16 ? 3.1 * 0x1p-8 : 0));
                if (!(Math.abs(expected[i][j] - got[i][j]) <= bound)) {
                    throw new IllegalStateException("result " + i + " of " + dtype + " " + g + ": " + got[i][j] + " instead of " + expected[i][j]);
                }
                checked++;
            }
        }
    }

    private static Results run(Device device, DType dtype, long[] s, Geometry g, boolean part) {
        return run(device, dtype, s, g, part, false);
    }

    /** @param part whether the images are parts of wider ones, whose channels are contiguous and whose columns are not */
    private static Results run(Device device, DType dtype, long[] s, Geometry g, boolean part, boolean magnitudes) {
        ConvolutionLibrary library = device.convolution();
        try (Scope scope = device.scope().open()) {
            Tensor wide = values(scope, dtype, magnitudes, s[0], s[1], s[2], s[3]);
            Tensor x = wide;
            if (part) {
                x = scope.empty(dtype, s[0], s[1], s[2], s[3] + 8).slice(3, 0, s[3]);
                Kernels.copy(wide, x);
            }
            Tensor w = values(scope, dtype, magnitudes, s[4], s[5], s[6], s[3] / g.groups());
            Tensor b = values(scope, DType.F32, magnitudes, s[4]);
            long height = g.outputHeight(s[1], s[5]);
            long width = g.outputWidth(s[2], s[6]);
            Tensor y = scope.empty(dtype, s[0], height, width, s[4]);
            Tensor dy = values(scope, dtype, magnitudes, s[0], height, width, s[4]);
            Tensor dx = scope.empty(dtype, s[0], s[1], s[2], s[3]);
            Tensor dw = scope.empty(DType.F32, w.shape());
            Tensor db = scope.empty(DType.F32, s[4]);
            var stream = device.stream();
            long bytes = library.forwardWorkspace(stream, x.operand(), w.operand(), b.operand(), y.operand(), g);
            library.forward(stream, x.operand(), w.operand(), b.operand(), y.operand(), g, scope.workspace(bytes));
            bytes = library.backwardDataWorkspace(stream, dy.operand(), w.operand(), dx.operand(), g);
            library.backwardData(stream, dy.operand(), w.operand(), dx.operand(), g, false, scope.workspace(bytes));
            bytes = library.backwardWeightsWorkspace(stream, x.operand(), dy.operand(), dw.operand(), db.operand(), g);
            library.backwardWeights(stream, x.operand(), dy.operand(), dw.operand(), db.operand(), g, false, scope.workspace(bytes));
            return new Results(floats(y), floats(dx), floats(dw), floats(db));
        }
    }

    static float[] floats(Tensor t) {
        return t.to(DType.F32).toArray();
    }

    static Tensor values(Scope scope, DType dtype, boolean magnitudes, long... shape) {
        float[] v = new float[(int) Shapes.elements(shape)];
        for (int i = 0; i < v.length; i++) {
            double t = (i + 3 + shape.length) * 0.7548776662466927;
            float value = (float) (2 * (t - Math.floor(t)) - 1);
            v[i] = magnitudes ? Math.abs(value) : value;
        }
        return scope.of(v, shape).to(dtype);
    }

    private void refusals(Device device) {
        try (Scope scope = device.scope().open()) {
            Tensor x = values(scope, DType.F32, false, 1, 4, 4, 2);
            Tensor w = values(scope, DType.F32, false, 2, 2, 2, 2);
            Tensor y = scope.empty(1, 4, 4, 2);
            refused("cuDNN pads both sides alike; `convolution: gatun`", x, w, y, new Geometry(1, 1, 0, 1, 0, 1, 1, 1, 1));
            refused("one dtype", x, w.to(DType.BF16), y, Geometry.of(1, 1));
            refused("CUDNN_STATUS_BAD_PARAM", x, w, y, Geometry.of(1, 1));
            refused(
                    "no deterministic algorithm", x.to(DType.F16), values(scope, DType.F16, false, 2, 3, 3, 2), y.to(DType.F16),
                    Geometry.of(1, 1));
        }
    }

    private static void refused(String why, Tensor x, Tensor w, Tensor y, Geometry g) {
        try {
            Device device = x.device();
            device.convolution().forwardWorkspace(device.stream(), x.operand(), w.operand(), Operand.NONE, y.operand(), g);
        } catch (GatunException e) {
            if (e.getMessage().startsWith("convolution: ") && e.getMessage().contains(why)) {
                return;
            }
            throw e;
        }
        throw new IllegalStateException("not refused: " + why);
    }
}
