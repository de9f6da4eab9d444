// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.GatunException;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Limits, what is said beyond them, and peaks. */
class MemoryTest {
    private static final int FLOATS = 1024;
    private static final long BLOCK = 4L * FLOATS;

    private static Device device(String name, long limit) {
        return name.equals("cpu") ? Device.cpu(1, limit) : Device.emulated(limit);
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "emulated"})
    void beyondTheLimitIsOneErrorAndNothingIsLost(String name) {
        try (Device device = device(name, 5 * BLOCK)) {
            Tensor kept = device.scope().full(3, FLOATS);
            try (Scope step = device.scope().open()) {
                step.full(1, 2 * FLOATS);
            }
            assertEquals(3 * BLOCK, device.heldBytes());
            try (Scope step = device.scope().open()) {
                GatunException e = assertThrows(GatunException.class, () -> step.empty(4 * FLOATS + 1));
                assertEquals(GatunException.Status.OUT_OF_MEMORY, e.status());
                // a quarter of a power of two is the size class above 4 blocks
                assertEquals(
                        "allocate: device " + name + " has no room for " + 5 * BLOCK + " bytes: " + BLOCK + " are in use, " + 2 * BLOCK
                                + " were cached and have been given back; the limit is " + 5 * BLOCK,
                        e.getMessage());
                assertEquals(BLOCK, device.heldBytes());
                // what fits, fits, after the cache was given back too
                assertEquals(2, step.full(2, 2 * FLOATS).toArray()[5]);
                assertEquals(4, step.full(4, FLOATS).toArray()[5]);
            }
            try (Scope step = device.scope().open()) {
                Tensor most = step.full(5, 4 * FLOATS);
                assertEquals(5, most.toArray()[4 * FLOATS - 1]);
                assertThrows(GatunException.class, () -> most.add(1));
            }
            assertArrayEquals(kept.toArray(), kept.add(0).toArray());
            assertEquals(5 * BLOCK, device.peakBytes());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "emulated"})
    void whatTheDeviceLacksIsSaidWithWhatItHas(String name) {
        try (Device device = device(name, 0)) {
            GatunException e = assertThrows(GatunException.class, () -> device.scope().empty(1L << 50));
            assertEquals(GatunException.Status.OUT_OF_MEMORY, e.status());
            assertTrue(e.getMessage().matches("allocate: device " + name + " has no room for " + (1L << 52)
                    + " bytes: 0 are in use, 0 were cached and have been given back; \\d+ of its \\d+ are free"), e.getMessage());
            assertEquals(0, device.heldBytes());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "emulated"})
    void peaksAreOfWhatIsHeldAndBeginAnew(String name) {
        try (Device device = device(name, 0)) {
            try (Scope step = device.scope().open()) {
                step.empty(2 * FLOATS);
                step.empty(FLOATS);
            }
            try (Scope step = device.scope().open()) {
                step.empty(4 * FLOATS);
            }
            // at most four blocks were live, beside three in the cache
            assertEquals(4 * BLOCK, device.peakBytes());
            assertEquals(7 * BLOCK, device.peakHeldBytes());
            device.resetPeak();
            assertEquals(0, device.peakBytes());
            assertEquals(7 * BLOCK, device.peakHeldBytes());
            device.trim();
            device.resetPeak();
            assertEquals(0, device.peakHeldBytes());
            try (Scope step = device.scope().open()) {
                step.empty(FLOATS);
                assertEquals(BLOCK, device.peakBytes());
                assertEquals(BLOCK, device.peakHeldBytes());
            }
        }
    }
}
