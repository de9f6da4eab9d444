// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.tensor.TensorException;
import org.junit.jupiter.api.Test;

class ScheduleTest {
    @Test
    void cosineWithWarmup() {
        Schedule s = Schedule.cosine(1f, .1f, 110, 10, .2f);
        assertEquals(.2, s.at(0), 1e-7);
        assertEquals(.6, s.at(5), 1e-7);
        assertEquals(1, s.at(10), 1e-7);
        assertEquals(.55, s.at(60), 1e-7);
        assertEquals(.1 + .45 * (1 + Math.cos(Math.PI * .25)), s.at(35), 1e-7);
        assertEquals(.1, s.at(110), 1e-7);
        assertEquals(.1, s.at(1000), 1e-7);
        assertEquals(.5, Schedule.cosine(1f, 100, 0).at(50), 1e-7);
        assertEquals(1, Schedule.cosine(1f, 100, 0).at(0), 1e-7);
        assertThrows(TensorException.class, () -> Schedule.cosine(1f, 10, 11));
    }

    @Test
    void oneCycleRisesAndFalls() {
        // reference values of the published policy for 100 steps and a peak of .1
        Schedule s = Schedule.oneCycle(.1f, 100);
        assertEquals(.004, s.at(0), 1e-8);
        assertEquals(.1, s.at(29), 1e-8);
        assertEquals(.1 + .5 * (.004 - .1) * (1 + Math.cos(Math.PI * 10 / 29)), s.at(10), 1e-8);
        assertEquals(4e-7, s.at(99), 1e-9);
        assertEquals((.1 + 4e-7) / 2, s.at(64), 1e-8);
        assertEquals(.3f, Schedule.constant(.3f).at(12345));
    }
}
