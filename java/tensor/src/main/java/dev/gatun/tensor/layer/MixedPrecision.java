// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Tensor;
import java.util.List;

/**
 * The border of a part of a network that computes in its pass's precision ({@link Pass#precision}): what comes in is cast to that, what
 * comes out to f32, and gradients likewise on their way back. Inside, layers take their weights in the dtype of their input; norms'
 * parameters and statistics, convolutions' biases and LayerScale stay f32. In an f32 pass nothing is cast.
 */
public final class MixedPrecision {
    private MixedPrecision() {}

    /** A layer behind such a border. */
    public static Layer of(Layer inside) {
        return (pass, x) -> run(inside, pass, x);
    }

    /** An encoder behind such a border. */
    public static Encoder of(Encoder inside) {
        return new Encoder() {
            @Override
            public int features() {
                return inside.features();
            }

            @Override
            public String form(Device device, DType type) {
                return inside.form(device, type);
            }

            @Override
            public Tensor forward(Pass pass, Tensor x) {
                return run(inside, pass, x);
            }

            @Override
            public Tensor forwardAll(Pass pass, List<Tensor> batches) {
                return inside.forwardAll(pass, batches.stream().map(x -> x.to(pass.precision())).toList()).to(DType.F32);
            }
        };
    }

    private static Tensor run(Layer inside, Pass pass, Tensor x) {
        return inside.forward(pass, x.to(pass.precision())).to(DType.F32);
    }
}
