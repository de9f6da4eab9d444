// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.optimizer.AdamW;
import dev.gatun.tensor.optimizer.Sgd;
import java.util.LinkedHashMap;
import java.util.List;
import org.junit.jupiter.api.Test;

class OptimizersTest {
    @Test
    void aStoreApartFollowsItsOwnOptimizerWhoseStateIsSaved() {
        try (Device device = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            Parameter trained = parameters.parameter("weight", Initializer.zeros(), 3);
            Parameters head = parameters.apart("head");
            Parameter own = head.parameter("weight", Initializer.zeros(), 3);
            parameters.build(device, 1);
            Optimizers optimizers = new Optimizers(
                    new Sgd(parameters, 0, false, 0),
                    List.of(new StoreOptimizer(head, store -> new Sgd(store, .5f, false, 0), step -> step == 0 ? 1 : 10)), device.scope());
            trained.gradient().fill(1);
            own.gradient().fill(1);
            optimizers.step(step(device, 0), index -> .25f);
            assertEquals(-.25f, trained.value().toArray()[0]);
            assertEquals(-1, own.value().toArray()[0]);
            optimizers.step(step(device, 1), index -> .25f);
            assertEquals(-.5f, trained.value().toArray()[0]);
            assertEquals(-16, own.value().toArray()[0], "momentum .5, rate 10");
            assertEquals(List.of("sgd.velocity", "head.sgd.velocity"), optimizers.state().stream().map(NamedTensor::name).toList());
            assertEquals(1.5f, optimizers.state().getLast().tensor().toArray()[0]);
            List<Tensor> norms = optimizers.guard(device.scope().full(1f, 1));
            assertEquals(Math.sqrt(3), norms.get(0).item(), 1e-6);
            assertEquals(Math.sqrt(3), norms.get(1).item(), 1e-6);
        }
    }

    @Test
    void nothingIsUpdatedWhereTheLossOrAnyGradientIsNotFinite() {
        try (Device device = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            Parameter trained = parameters.parameter("weight", Initializer.zeros(), 3);
            Parameters head = parameters.apart("head");
            Parameter own = head.parameter("weight", Initializer.zeros(), 3);
            parameters.build(device, 1);
            Optimizers optimizers = new Optimizers(
                    new AdamW(parameters, 0), List.of(new StoreOptimizer(head, store -> new Sgd(store, .5f, false, 0), step -> 1)),
                    device.scope());
            trained.gradient().fill(1);
            own.gradient().fill(Float.NaN);
            assertTrue(Float.isNaN(optimizers.guard(device.scope().full(1f, 1)).get(1).item()));
            optimizers.step(step(device, 0), index -> 1f);
            own.gradient().fill(1);
            optimizers.guard(device.scope().full(Float.POSITIVE_INFINITY, 1));
            optimizers.step(step(device, 0), index -> 1f);
            assertArrayEquals(new float[3], trained.value().toArray());
            assertArrayEquals(new float[3], own.value().toArray());
            assertEquals(0, optimizers.state().get(2).tensor().toLongArray()[0], "updates that were skipped are not counted");
            optimizers.guard(device.scope().full(1f, 1));
            optimizers.step(step(device, 0), index -> 1f);
            assertEquals(-1, trained.value().toArray()[0], 1e-6);
            assertEquals(-1, own.value().toArray()[0]);
            assertEquals(1, optimizers.state().get(2).tensor().toLongArray()[0]);
        }
    }

    private static Step step(Device device, long index) {
        RandomKey key = new RandomKey(1, index, 0);
        return new Step(index, 2, 2, .25f, Pass.training(Tape.on(device.scope()), key), key, new LinkedHashMap<>());
    }
}
