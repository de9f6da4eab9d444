// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import static dev.gatun.primitives.DType.BF16;
import static dev.gatun.primitives.DType.F32;
import static dev.gatun.tensor.function.HalfPrecision.activation;
import static dev.gatun.tensor.function.HalfPrecision.parameter;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Pooling.Window;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.function.HalfPrecision.Input;
import dev.gatun.tensor.function.HalfPrecision.Operation;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Every operation on bf16 activations, forward and backward, on the emulated device. */
class HalfPrecisionTest {
    private static Device device;
    private static HalfPrecision half;

    @BeforeAll
    static void open() {
        device = Device.emulated();
        half = new HalfPrecision(device);
    }

    @AfterAll
    static void close() {
        device.close();
    }

    /** An operation whose result is stored as its activations are. */
    private static void alike(Operation operation, Input... inputs) {
        half.check(BF16, operation, inputs);
    }

    @Test
    void elementary() {
        Input a = activation(-2, 2, 3, 8);
        Input b = activation(1, 2, 8);
        Input p = activation(.5f, 3, 2, 3);
        alike(in -> in[0].add(in[1]), a, b);
        alike(in -> in[1].sub(in[0]), a, b);
        alike(in -> in[0].mul(in[1]), a, b);
        alike(in -> in[0].div(in[1]), a, b);
        alike(in -> in[0].exp(), a);
        alike(in -> in[0].log(), p);
        alike(in -> in[0].sqrt(), p);
        alike(in -> in[0].square().neg().mul(.3f).add(2), p);
        alike(in -> in[0].add(in[0]), a);
    }

    @Test
    void reductionsAndViews() {
        Input a = activation(-1, 2, 6, 8);
        alike(in -> in[0].sum(), a);
        alike(in -> in[0].mean(), a);
        alike(in -> in[0].sum(0), a);
        alike(in -> in[0].mean(1), a);
        alike(in -> in[0].slice(1, 2, 5), a);
        alike(in -> in[0].transpose().contiguous().reshape(4, 12), a);
        alike(in -> Tensor.concat(1, in[0], in[1], in[0]), a, activation(0, 1, 6, 3));
    }

    @Test
    void products() {
        Input x = activation(-1, 2, 2, 5, 8);
        alike(in -> in[0].matmul(in[1]), x, activation(-1, 1, 8, 6));
        alike(in -> in[0].matmulTransposed(in[1]), x, activation(-1, 1, 6, 8));
        alike(in -> in[0].linear(in[1], in[2]), x, activation(-1, 1, 6, 8), parameter(-1, 1, 6));
    }

    @Test
    void activations() {
        Input x = activation(-3, 3, 5, 16);
        alike(in -> Activation.relu(in[0]), x);
        alike(in -> Activation.gelu(in[0]), x);
        alike(in -> Activation.sigmoid(in[0]), x);
        alike(in -> Activation.tanh(in[0]), x);
    }

    @Test
    void convolutionsAndPooling() {
        Input x = activation(-1, 2, 2, 6, 6, 8);
        alike(in -> Convolution.apply(in[0], in[1], in[2], Geometry.of(2, 1, 1, 1)), x, activation(-1, 1, 8, 3, 3, 8), parameter(-1, 1, 8));
        alike(in -> Convolution.apply(in[0], in[1], Geometry.of(1, 1, 1, 8)), x, activation(-1, 1, 8, 3, 3, 1));
        alike(in -> Pooling.max(in[0], Window.of(3, 2, 1)), x);
        alike(in -> Pooling.average(in[0], Window.of(2, 2, 0), true), x);
        alike(in -> Pooling.globalAverage(in[0]), x);
    }

    @Test
    void norms() {
        Input gamma = parameter(.5f, 1.5f, 8);
        // channels that a ReLU leaves alone and such that it stops, none near zero, where a rounding decides
        Input beta = new Input(new long[] {8}, new float[] {5, -5, 5, 5, -5, 5, -5, 5}, false);
        Input x = activation(-1, 2, 4, 6, 8);
        RunningStatistics moved = new RunningStatistics(device.scope().zeros(8), device.scope().full(1, 8), .1f, 1e-5);
        RunningStatistics given = new RunningStatistics(device.scope().full(.2f, 8), device.scope().full(2, 8), .1f, 1e-5);
        for (boolean relu : new boolean[] {false, true}) {
            alike(in -> BatchNorm.apply(in[0], in[1], in[2], moved, relu), x, gamma, beta);
            alike(in -> BatchNorm.inference(in[0], in[1], in[2], given, relu), x, gamma, beta);
        }
        alike(in -> LayerNorm.apply(in[0], in[1], in[2], 1e-6), x, gamma, beta);
        alike(in -> LayerNorm.composed(in[0], 1e-6), x);
        alike(in -> GroupNorm.apply(in[0], 2, in[1], in[2], 1e-5), x, gamma, beta);
        alike(in -> L2Normalize.apply(in[0]), x);
        alike(in -> Softmax.apply(in[0], .5f), x);
    }

    @Test
    void attention() {
        alike(in -> Attention.self(in[0], 2, false), activation(-1, 1, 2, 5, 48));
        Tensor offsets = device.scope().ofInts(new int[] {0, 3, 7});
        alike(in -> Attention.selfRagged(in[0], offsets, 2), activation(-1, 1, 7, 48));
        alike(in -> Attention.apply(in[0], in[1], in[2], in[3], .3f, true), activation(-1, 1, 2, 5, 2, 8), activation(-1, 2, 2, 6, 2, 8),
                activation(-2, 1, 2, 6, 2, 8), parameter(-1, 1, 1, 2, 5, 6));
    }

    @Test
    void residuals() {
        Input x = activation(-1, 2, 4, 3, 8);
        Input gamma = parameter(.5f, 1, 8);
        Tensor mask = device.scope().of(new float[] {0, 1.25f, 1.25f, 1.25f});
        Tensor kept = device.scope().ofInts(new int[] {2, 0});
        alike(in -> StochasticDepth.joinMasked(in[0], in[1], mask, in[2], true), x, activation(1, 2, 4, 3, 8), gamma);
        alike(in -> StochasticDepth.joinMasked(in[0], in[1], null, null, false), x, activation(1, 2, 4, 3, 8));
        alike(in -> StochasticDepth.joinSubset(in[0], in[1], kept, in[2], false), x, activation(1, 2, 2, 3, 8), gamma);
        alike(in -> GatherRows.apply(in[0], kept), x);
        // the rows picked and all of them: the gradient of the second is what that of the first is added to
        alike(in -> StochasticDepth.joinSubset(in[0], GatherRows.apply(in[0], kept).mul(.5f), kept, null, false), x);
    }

    @Test
    void losses() {
        Tensor labels = device.scope().ofInts(new int[] {1, 0, -1, 3, 2, 2});
        Tensor groups = device.scope().ofInts(new int[] {0, 1, 2, 0, 1, 2});
        Input logits = activation(-1, 1, 6, 8);
        DType loss = F32;
        half.check(loss, in -> CrossEntropy.rows(in[0], labels, .5f), logits);
        half.check(loss, in -> CrossEntropy.apply(in[0], Softmax.apply(in[0].detach().to(F32).mul(-1)), .5f), logits);
        half.check(loss, in -> InfoNce.apply(in[0], groups, 1f), logits);
        half.check(loss, in -> InfoNce.apply(in[0], in[1], groups, groups, 1f), logits, activation(-1, 1, 6, 8));
        Tensor codes = Softmax.apply(device.scope().of(activation(-1, 3, 3, 5).values(), 3, 5));
        half.check(loss, in -> LinearCrossEntropy.apply(in[0], in[1], codes, .5f), logits, activation(-1, 1, 5, 8));
        half.check(loss, in -> LinearCrossEntropy.apply(in[0], in[1], codes, .5f, in[0].detach().matmulTransposed(in[1].detach())), logits,
                activation(-1, 1, 5, 8));
        // scores that are given are not computed again: with zeros every prototype is as likely
        Scope scope = device.scope();
        assertEquals(Math.log(5), LinearCrossEntropy.apply(scope.full(1, 6, 8), scope.full(1, 5, 8), codes, .5f, scope.zeros(6, 5)).item(), 1e-6);
        assertThrows(
                TensorException.class, () -> LinearCrossEntropy.apply(scope.full(1, 6, 8), scope.full(1, 5, 8), codes, .5f, scope.zeros(5, 6)));
    }

    @Test
    void prototypesGradientsAreAddedUpUnrounded() {
        try (Scope scope = device.scope().open()) {
            Tensor z = scope.of(activation(-1, 1, 6, 8).values(), 6, 8).to(BF16);
            Tensor values = scope.of(activation(-1, 2, 5, 8).values(), 5, 8).to(BF16);
            Tensor codes = Softmax.apply(scope.of(activation(-1, 3, 3, 5).values(), 3, 5));
            List<float[]> sums = new ArrayList<>();
            for (boolean given : new boolean[] {false, true}) {
                Tape tape = Tape.on(scope);
                Tensor sum = scope.full(.1f, 5, 8);
                Tensor prototypes = tape.watch(values, sum);
                Tensor scores = given ? z.matmulTransposed(values) : null;
                tape.backward(LinearCrossEntropy.apply(z, prototypes, codes, .5f, scores));
                sums.add(sum.toArray());
            }
            assertArrayEquals(sums.get(0), sums.get(1));
        }
    }
}
