// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** An average in a store apart follows by name, wherever the two lie in their buffers. */
class EmaTest {
    private final Device device = Device.cpu(1);
    private final Parameters online = Parameters.create();

    @AfterEach
    void close() {
        device.close();
    }

    private static Parameter declare(Parameters into, String name, long... shape) {
        return into.parameter(name, Initializer.normal(1), shape);
    }

    @Test
    void everyParameterFollowsItsNameAndNothingElseMoves() {
        // the order differs, other parameters lie between, and sizes leave gaps
        declare(online, "a.weight", 5, 3);
        declare(online, "predictor", 7);
        declare(online, "b.weight", 33);
        declare(online, "c.bias", 2);
        declare(online, "c.weight", 16);
        Parameters average = online.apart("target");
        declare(average, "c.weight", 16);
        declare(average, "a.weight", 5, 3);
        declare(average, "c.bias", 2);
        declare(average, "b.weight", 33);
        average.state("running", 6f, 3);
        Ema ema = new Ema(average, online);
        online.build(device, 3);
        average.all().forEach(p -> p.value().fill(1f));
        float[] untouched = online.values().toArray();
        for (float tau : new float[] {.75f, .5f, 0f, 1f}) {
            float[] before = average.values().toArray();
            ema.update(tau);
            for (Parameter p : average.all()) {
                Parameter followed = online.all().stream()
                        .filter(q -> q.name().equals(p.name().substring("target.".length()))).findFirst().orElseThrow();
                float[] moved = p.value().toArray();
                float[] to = followed.value().toArray();
                for (int i = 0; i < moved.length; i++) {
                    double expected = (double) tau * before[(int) p.offset() + i] + (1 - (double) tau) * to[i];
                    assertEquals(expected, moved[i], 2 * Math.ulp(Math.max(1f, Math.abs(to[i]))), p.name());
                    if (tau == 0 || tau == 1) {
                        assertEquals((float) expected, moved[i], "exact at the ends");
                    }
                }
            }
        }
        assertArrayEquals(untouched, online.values().toArray(), "the online network does not follow");
        assertArrayEquals(new float[] {6, 6, 6}, average.states().getFirst().value().toArray(), "state is not averaged");
        float[] gaps = average.values().toArray();
        boolean[] used = new boolean[gaps.length];
        average.all().forEach(p -> Arrays.fill(used, (int) p.offset(), (int) (p.offset() + p.elements()), true));
        for (int i = 0; i < gaps.length; i++) {
            assertTrue(used[i] || gaps[i] == 0, "the gaps hold zeros");
        }
    }

    @Test
    void aPartMayBeFollowed() {
        Parameter w = declare(online.sub("backbone"), "w", 20);
        declare(online, "head", 4);
        Parameters average = online.apart("target");
        declare(average, "w", 20);
        Ema ema = new Ema(average, online.sub("backbone"));
        online.build(device, 3);
        ema.update(0);
        assertArrayEquals(w.value().toArray(), average.all().getFirst().value().toArray());
    }

    @Test
    void whatHasNothingToFollowIsNamed() {
        declare(online, "w", 4);
        Parameters average = online.apart("target");
        assertTrue(message(() -> new Ema(average, online)).contains("target. has no parameters yet"));
        declare(average, "w", 5);
        assertTrue(message(() -> new Ema(average, online)).contains("has nothing to follow: w[4]"));
        Parameters other = online.apart("other");
        declare(other, "v", 4);
        assertTrue(message(() -> new Ema(other, online)).contains("there is no v"));
    }

    private static String message(org.junit.jupiter.api.function.Executable body) {
        return assertThrows(TensorException.class, body).getMessage();
    }

    @Test
    void tapesNoticeAnUpdate() {
        declare(online, "w", 4);
        Parameters average = online.apart("target");
        Parameter w = declare(average, "w", 4);
        Ema ema = new Ema(average, online);
        online.build(device, 3);
        try (Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Tensor y = Pass.training(tape, new dev.gatun.primitives.RandomKey(1, 1, 1)).use(w).square().sum();
            ema.update(.5f);
            assertThrows(TensorException.class, () -> tape.backward(y));
        }
    }
}
