// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.tensor.Tensor;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CalibrationTest {
    @TempDir
    Path folder;

    private static double cost(Calibration c, long steps) {
        return c.start() + steps * c.step() + (steps + c.stepsPerEpoch() - 1) / c.stepsPerEpoch() * c.epoch();
    }

    @Test
    void asManyStepsAsFitWithTheEpochsBetween() {
        for (Calibration c : new Calibration[] {
            new Calibration(.02, 0, 0, 40), new Calibration(.02, .5, .3, 40), new Calibration(.02, 3, 0, 7), new Calibration(1, 0, 0, 1)
        }) {
            for (double seconds : new double[] {4.99, 10, 60.3}) {
                long steps = c.steps(seconds);
                assertTrue(cost(c, steps) <= seconds + 1e-9, c + " " + seconds);
                // a step more does not fit, nor does an epoch more with one step in it
                assertTrue(cost(c, steps + 1) > seconds - 1e-9, c + " " + seconds);
            }
        }
        assertEquals(1, new Calibration(5, 5, 0, 10).steps(1), "never nothing");
    }

    /** Sleeps in every step and before every epoch, longer before the first. */
    private static Method sleepy(Method method) {
        return new Method() {
            @Override
            public void build(MethodBuild build) {
                method.build(build);
            }

            @Override
            public Tensor loss(Batch batch, Step step) {
                sleep(4);
                return method.loss(batch, step);
            }

            @Override
            public void beforeEpoch(Epoch epoch) {
                sleep(epoch.index() == 0 ? 100 : 40);
            }
        };
    }

    private static void sleep(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private Calibration measure(int images) {
        Synthetic.Pull pull = new Synthetic.Pull();
        MethodProvider provider = (MethodProvider) Proxy.newProxyInstance(
                getClass().getClassLoader(), new Class<?>[] {MethodProvider.class}, (proxy, called, arguments) ->
                        called.getName().equals("create") ? sleepy(pull.create((Record) arguments[0])) : called.invoke(pull, arguments));
        Pipeline pipeline = Synthetic.pipeline(provider, new Synthetic.Pull.Settings(), images, 1);
        Path scratch = folder.resolve("scratch");
        Calibration found = Calibration.measure(pipeline, scratch, 4);
        assertFalse(Files.exists(scratch));
        return found;
    }

    @Test
    void stepsAndWhatHappensBeforeEpochsAreToldApart() {
        // 5 steps an epoch, so that epochs begin while it measures; and one that is longer than the measurement
        for (int images : new int[] {60, 60_000}) {
            Calibration found = measure(images);
            assertEquals(images / 12, found.stepsPerEpoch());
            assertTrue(found.step() >= .004 && found.step() < .03, found.toString());
            assertTrue(found.epoch() >= .03, found.toString());
            assertTrue(found.start() > .03, found.toString());
        }
    }
}
