// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.optimizer.Sgd;
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
                    List.of(new StoreOptimizer(head, store -> new Sgd(store, .5f, false, 0), step -> step == 0 ? 1 : 10)));
            trained.gradient().fill(1);
            own.gradient().fill(1);
            optimizers.step(0, .25f);
            assertEquals(-.25f, trained.value().toArray()[0]);
            assertEquals(-1, own.value().toArray()[0]);
            optimizers.step(1, .25f);
            assertEquals(-.5f, trained.value().toArray()[0]);
            assertEquals(-16, own.value().toArray()[0], "momentum .5, rate 10");
            assertEquals(List.of("sgd.velocity", "head.sgd.velocity"), optimizers.state().stream().map(NamedTensor::name).toList());
            assertEquals(1.5f, optimizers.state().getLast().tensor().toArray()[0]);
            assertEquals(Math.sqrt(3), optimizers.gradientNorm().orElseThrow(), 1e-6);
            assertTrue(Double.isFinite(optimizers.gradientNorm().orElseThrow()));
        }
    }
}
