// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * A step of a block with a subset at rate p takes at most 1.15 (1 − p) + .05 of the full block's. Time is for the benchmark
 * ({@code StochasticDepthBlockBenchmark}); here the rows of the branch and the bytes of the step are counted.
 */
class DropPathCostTest {
    private static final RandomKey KEY = new RandomKey(1, 2, 3);

    /** With this many rows of the shapes below, the whole and the kept rows fill the allocator's size classes without rest. */
    private static final int BATCH = 40;

    /** Rows that went through one operation, forward and backward. */
    private static final class Counter implements Layer {
        private long forward;
        private long backward;

        @Override
        public Tensor forward(Pass pass, Tensor x) {
            return Function.apply(new Count(this), x);
        }
    }

    private record Count(Counter counter) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            counter.forward += in[0].size(0);
            return in[0];
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            counter.backward += g[0].size(0);
            return g;
        }
    }

    /** What the layers behind a block hand to it: a gradient in memory that it may overwrite. */
    private record Handover() implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            return c.empty(1);
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {c.scope().full(1, c.inputShape(0))};
        }
    }

    private static Layer[] transformer(Parameters p) {
        return new Layer[] {
            new LayerNorm(p.sub("norm"), 32, 1e-6),
            new MultiHeadAttention(p.sub("attn"), 32, 2, true),
            new Linear(p.sub("fc1"), 32, 128, true),
            new Gelu(),
            new Linear(p.sub("fc2"), 128, 32, true)
        };
    }

    private static Layer[] residual(Parameters p) {
        return new Layer[] {
            new Conv2d(p.sub("conv1"), 8, 8, 3, 1, 1, 1, false),
            new BatchNorm(p.sub("bn1"), 8, true),
            new Conv2d(p.sub("conv2"), 8, 8, 3, 1, 1, 1, false),
            new BatchNorm(p.sub("bn2"), 8)
        };
    }

    /** Rows forward, rows backward, and the peak of bytes above the block's operands: x, y and a gradient of their size. */
    private static long[] cost(boolean images, double rate) {
        try (Device device = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            List<Layer> layers = new ArrayList<>();
            Counter counter = new Counter();
            for (Layer layer : images ? residual(parameters) : transformer(parameters)) {
                layers.add(layer);
                layers.add(counter);
            }
            Layer branch = new Sequential(layers.toArray(Layer[]::new));
            parameters.build(device, 5);
            DropPath drop = new DropPath(rate, DropPath.Form.SUBSET, images);
            long[] shape = images ? new long[] {BATCH, 16, 16, 8} : new long[] {BATCH, 64, 32};
            long before = device.liveBytes();
            Tensor x = device.scope().full(.5f, shape);
            long operand = device.liveBytes() - before;
            try (Scope scope = device.scope().open()) {
                Tape tape = Tape.on(scope);
                Tensor y = drop.residual(Pass.training(tape, KEY), tape.watch(x), branch);
                tape.backward(Function.apply(new Handover(), y));
            }
            return new long[] {counter.forward / (layers.size() / 2), counter.backward / (layers.size() / 2),
                device.peakBytes() - before - 3 * operand};
        }
    }

    @Test
    void rowsAndBytesFallWithTheRate() {
        for (boolean images : new boolean[] {false, true}) {
            long[] full = cost(images, 0);
            assertEquals(BATCH, full[0]);
            assertEquals(BATCH, full[1]);
            for (double rate : new double[] {.2, .4, .6}) {
                long[] subset = cost(images, rate);
                long kept = (long) (BATCH * (1 - rate));
                assertEquals(kept, subset[0]);
                assertEquals(kept, subset[1]);
                double share = (double) subset[2] / full[2];
                assertTrue(share <= 1.15 * (1 - rate) + .05, (images ? "residual" : "transformer") + " " + rate + ": " + share);
            }
        }
    }
}
