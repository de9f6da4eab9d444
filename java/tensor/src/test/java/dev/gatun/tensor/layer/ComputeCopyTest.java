// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.CapturedStep;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Weights in bf16 beside the f32 ones: when they follow, and what they cost. */
class ComputeCopyTest {
    private static final RandomKey KEY = new RandomKey(1, 0, 2);

    private Device device;
    private Parameters parameters;
    private Parameter weight;
    private Parameter other;

    @BeforeEach
    void open() {
        device = Device.emulated();
        parameters = Parameters.create();
        weight = parameters.parameter("weight", Initializer.constant(2), 3);
        other = parameters.parameter("other", Initializer.ones(), 2, 2);
        parameters.build(device, 1);
    }

    @AfterEach
    void close() {
        device.close();
    }

    private static float[] used(Pass pass, Parameter parameter) {
        Tensor t = pass.use(parameter, DType.BF16);
        assertEquals(DType.BF16, t.dtype());
        return t.toFloat().toArray();
    }

    private float first(Pass pass) {
        return used(pass, weight)[0];
    }

    @Test
    void theCopyFollowsEveryWayOfWriting() {
        try (Scope scope = device.scope().open()) {
            assertArrayEquals(new float[] {2, 2, 2}, used(Pass.inference(scope), weight));
            assertArrayEquals(new float[] {1, 1, 1, 1}, used(Pass.inference(scope), other));
            weight.value().copyFrom(3, 3, 1 + 0x1p-12f);
            assertArrayEquals(new float[] {3, 3, 1}, used(Pass.inference(scope), weight));
            weight.value().fill(4);
            assertEquals(4, first(Pass.inference(scope)));
            // as an optimizer does
            parameters.values().addInPlace(scope.full(1, parameters.values().shape()), 1);
            parameters.written();
            assertEquals(5, first(Pass.inference(scope)));
            assertArrayEquals(new float[] {2, 2, 2, 2}, used(Pass.inference(scope), other));
            parameters.values().fill(6);
            assertEquals(6, first(Pass.inference(scope)));
            weight.value().fill(7);
            assertEquals(7, first(Pass.training(Tape.on(scope), KEY)));
        }
    }

    @Test
    void aPassCastsOnceAndAgainWhereItMust() {
        try (Scope scope = device.scope().open()) {
            Tensor before = Pass.inference(scope).use(weight, DType.BF16);
            int version = before.version();
            other.value().fill(9);
            // another parameter was written: this one is not touched, as far as tapes are concerned
            Pass.inference(scope).use(other, DType.BF16);
            assertEquals(version, before.version());
            Pass training = Pass.training(Tape.on(scope), KEY);
            Tensor used = training.use(weight, DType.BF16);
            assertSame(used, training.use(weight, DType.BF16));
            assertEquals(version, before.version());
            assertTrue(used.tracked());
            training.tape().backward(used.toFloat().mul(scope.of(new float[] {1, 2, 3})).sum());
            assertArrayEquals(new float[] {1, 2, 3}, weight.gradient().toArray());
            assertEquals(DType.F32, training.use(weight).dtype());

            // as with f32: a tape that needs the old weights says so
            Tensor product = training.use(other, DType.BF16).mul(used.slice(0, 0, 2));
            weight.value().fill(8);
            assertEquals(8, first(training.withoutGradient()));
            assertThrows(TensorException.class, () -> training.tape().backward(product.toFloat().sum()));
        }
    }

    @Test
    void itCostsTwoBytesAParameterOnce() {
        long live = device.liveBytes();
        parameters.computeIn(DType.F32);
        assertEquals(live, device.liveBytes());
        parameters.computeIn(DType.BF16);
        assertEquals(live + 2 * parameters.values().elements(), device.liveBytes(), 512);
        live = device.liveBytes();
        long requests = -1;
        for (int i = 0; i < 3; i++) {
            try (Scope scope = device.scope().open()) {
                first(Pass.training(Tape.on(scope), KEY));
            }
            assertEquals(live, device.liveBytes());
            assertTrue(requests < 0 || requests == device.allocatorRequests());
            requests = device.allocatorRequests();
            parameters.written();
        }
    }

    @Test
    void aRecordedStepCastsWhatTheWeightsAreWhenItIsLaunched() {
        Tensor result = device.scope().zeros(3);
        Runnable step = () -> {
            try (Scope scope = device.scope().open()) {
                result.copyFrom(Pass.training(Tape.on(scope), KEY).use(weight, DType.BF16).detach().toFloat());
            }
        };
        parameters.computeIn(DType.BF16);
        try (CapturedStep captured = new CapturedStep(device)) {
            captured.rehearse(0, step);
            // the copy is fresh when the step is recorded
            captured.record(0, step);
            for (float value : new float[] {5, -3}) {
                weight.value().fill(value);
                captured.launch(0);
                assertArrayEquals(new float[] {value, value, value}, result.toArray());
            }
        }
    }

    @Test
    void whatARecordedStepWritesIsSeenByThePassesAfterIt() {
        Runnable step = () -> parameters.values().addInPlace(parameters.values(), 1);
        try (CapturedStep captured = new CapturedStep(device);
                Scope scope = device.scope().open()) {
            captured.rehearse(0, step);
            captured.record(0, step);
            assertEquals(4, first(Pass.inference(scope)));
            captured.launch(0);
            assertEquals(8, first(Pass.inference(scope)));
        }
    }
}
