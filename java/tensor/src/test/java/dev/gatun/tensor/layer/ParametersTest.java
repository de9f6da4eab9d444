// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class ParametersTest {
    @Test
    void valuesAndGradientsAreFlat() {
        try (Device device = Device.cpu(1)) {
            Parameters root = Parameters.create();
            Parameter a = root.sub("net").sub("0").parameter("weight", Initializer.constant(2), 3, 5);
            Parameter b = root.sub("net").parameter("bias", Initializer.ones(), 7);
            State s = root.sub("net").state("running_var", 1f, 4);
            State n = root.state("count", DType.I64, 1);
            assertThrows(TensorException.class, a::value);
            root.build(device, 1);
            assertEquals("net.0.weight", a.name());
            assertEquals(0, a.offset());
            assertEquals(16, b.offset());
            assertEquals(32, root.values().elements());
            assertEquals(22, root.count());
            float[] flat = root.values().toArray();
            assertEquals(2, flat[14]);
            assertEquals(0, flat[15]);
            assertEquals(1, flat[22]);
            assertEquals(0, flat[23]);
            a.gradient().fill(3);
            assertEquals(3, root.gradients().toArray()[14]);
            root.zeroGradients();
            assertEquals(0, a.gradient().toArray()[14]);
            assertEquals(
                    List.of("net.0.weight", "net.bias", "net.running_var", "count"),
                    root.tensors().stream().map(NamedTensor::name).toList());
            assertEquals(List.of(b), root.all().subList(1, 2));
            assertEquals(List.of(a), root.sub("net").sub("0").all());
            assertArrayEquals(new float[] {1, 1, 1, 1}, s.value().toArray());
            assertArrayEquals(new long[] {0}, n.value().toLongArray());
            assertTrue(a.decay());
            assertFalse(b.decay());
        }
    }

    @Test
    void namesAreUniqueAndBuildEndsDeclaration() {
        try (Device device = Device.cpu(1)) {
            Parameters root = Parameters.create();
            root.parameter("w", Initializer.zeros(), 2);
            assertThrows(TensorException.class, () -> root.parameter("w", Initializer.zeros(), 2));
            assertThrows(TensorException.class, () -> root.state("w", 0f, 2));
            assertThrows(TensorException.class, () -> root.parameter("v", Initializer.zeros(), 0));
            root.build(device, 1);
            assertThrows(TensorException.class, () -> root.parameter("x", Initializer.zeros(), 2));
            assertThrows(TensorException.class, () -> root.build(device, 1));
        }
    }

    @Test
    void initialWeightsDependOnSeedAndNameOnly() {
        try (Device device = Device.cpu(2)) {
            Parameters one = Parameters.create();
            Parameter a = one.parameter("a", Initializer.normal(1), 50);
            Parameter b = one.parameter("b", Initializer.normal(1), 50);
            one.build(device, 7);
            Parameters two = Parameters.create();
            Parameter b2 = two.parameter("b", Initializer.normal(1), 50);
            two.parameter("other", Initializer.normal(1), 9);
            Parameter a2 = two.parameter("a", Initializer.normal(1), 50);
            two.build(device, 7);
            Parameters three = Parameters.create();
            Parameter a3 = three.parameter("a", Initializer.normal(1), 50);
            three.build(device, 8);
            assertArrayEquals(a.value().toArray(), a2.value().toArray());
            assertArrayEquals(b.value().toArray(), b2.value().toArray());
            assertFalse(Arrays.equals(a.value().toArray(), b.value().toArray()));
            assertFalse(Arrays.equals(a.value().toArray(), a3.value().toArray()));
        }
    }

    @Test
    void initializersHaveTheirMoments() {
        try (Device device = Device.cpu(2)) {
            long[] shape = {64, 3, 3, 32};
            int n = 64 * 9 * 32;
            check(device, Initializer.truncatedNormal(.02f), .02, n, shape);
            check(device, Initializer.kaimingNormal(), Math.sqrt(2.0 / (9 * 32)), n, shape);
            check(device, Initializer.kaimingNormalFanOut(), Math.sqrt(2.0 / (64 * 9)), n, shape);
            check(device, Initializer.fanInUniform(), 1 / Math.sqrt(9 * 32) / Math.sqrt(3), n, shape);
            check(device, Initializer.xavierUniform(), Math.sqrt(2.0 / (9 * 32 + 9 * 64)), n, shape);
            check(device, Initializer.uniform(.5f), .5 / Math.sqrt(3), n, shape);
            assertThrows(TensorException.class, () -> Initializer.truncatedNormal(1f));
        }
    }

    private static void check(Device device, Initializer initializer, double std, int n, long... shape) {
        Tensor t = device.scope().zeros(shape);
        initializer.fill(t, new RandomKey(3, 0, 1).named("w"));
        double sum = 0;
        double squares = 0;
        for (float v : t.toArray()) {
            sum += v;
            squares += (double) v * v;
        }
        // five standard errors of a mean and, for a normal, of a variance
        assertEquals(0, sum / n, 5 * std / Math.sqrt(n));
        assertEquals(1, squares / n / (std * std), 5 * Math.sqrt(2.0 / n));
    }

    @Test
    void convolutionWeightsHaveAnotherOrderInFiles() {
        assertArrayEquals(new long[] {8, 3, 5, 7}, FileLayout.OIHW.fileShape(new long[] {8, 5, 7, 3}));
        assertArrayEquals(new long[] {8, 5}, FileLayout.SAME.fileShape(new long[] {8, 5}));
    }

    @Test
    void aPassWatchesOnceAndCountsItsDraws() {
        try (Device device = Device.cpu(1)) {
            Parameters root = Parameters.create();
            Parameter w = root.parameter("w", Initializer.constant(3), 2);
            root.build(device, 1);
            RandomKey key = new RandomKey(1, 2, 3);
            Tape tape = Tape.on(device.scope().open());
            Pass pass = Pass.training(tape, key);
            Tensor x = pass.use(w);
            assertTrue(x == pass.use(w));
            RandomKey first = pass.nextKey();
            assertFalse(first.equals(pass.nextKey()));
            assertEquals(first, Pass.training(tape, key).nextKey());
            tape.backward(x.mul(x).sum());
            tape.backward(x.sum());
            assertArrayEquals(new float[] {7, 7}, w.gradient().toArray());
            Pass plain = Pass.inference(device.scope());
            assertFalse(plain.use(w).tracked());
            assertThrows(TensorException.class, plain::nextKey);
            assertThrows(TensorException.class, plain::tape);
            // an update between forward and backward is noticed
            Tensor y = x.square().sum();
            root.written();
            assertThrows(TensorException.class, () -> tape.backward(y));
        }
    }

    @Test
    void copiesBetweenNetworks() {
        try (Device device = Device.cpu(1)) {
            Parameters online = Parameters.create();
            Parameter w = online.parameter("net.w", Initializer.normal(1), 4);
            State s = online.state("net.s", 5, 2);
            online.build(device, 1);
            Parameters target = Parameters.create();
            Parameter w2 = target.parameter("net.w", Initializer.zeros(), 4);
            State s2 = target.state("net.s", 0, 2);
            target.build(device, 1);
            target.copyFrom(online);
            assertArrayEquals(w.value().toArray(), w2.value().toArray());
            assertArrayEquals(s.value().toArray(), s2.value().toArray());
            Parameters other = Parameters.create();
            other.parameter("net.v", Initializer.zeros(), 4);
            other.state("net.s", 0, 2);
            other.build(device, 1);
            assertThrows(TensorException.class, () -> other.copyFrom(online));
        }
    }
}
