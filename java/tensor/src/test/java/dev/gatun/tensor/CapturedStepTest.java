// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Random;
import dev.gatun.primitives.RandomKey;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class CapturedStepTest {
    private final Device device = Device.emulated();
    private final CapturedStep step = new CapturedStep(device);
    private final Tensor state = device.scope().zeros(2);

    @AfterEach
    void close() {
        step.close();
        device.close();
    }

    private void inAScope(Consumer<Scope> work) {
        try (Scope scope = device.scope().open()) {
            work.accept(scope);
        }
    }

    /** Rehearses, and records where nothing was found against it. */
    private void rehearseAndRecord(Runnable work) {
        step.rehearse(0, work);
        assertEquals("", step.refusal().orElse(""));
        step.record(1, work);
    }

    @Test
    void aLaunchDoesWhatTheStepDoes() {
        Runnable work = () -> inAScope(scope -> state.addInPlace(scope.attach(state).add(1f), 1f));
        rehearseAndRecord(work);
        assertArrayEquals(new float[] {1, 1}, state.toArray(), "recording computes nothing");
        step.launch(1);
        step.launch(2);
        assertArrayEquals(new float[] {7, 7}, state.toArray());
    }

    @Test
    void whatTheHostWritesIsWrittenAnew() {
        AtomicInteger written = new AtomicInteger();
        rehearseAndRecord(() -> inAScope(scope -> state.copyFrom(scope.fromHost(DType.F32, target -> {
            target.setAtIndex(ValueLayout.JAVA_FLOAT, 0, written.incrementAndGet());
            target.setAtIndex(ValueLayout.JAVA_FLOAT, 1, 7);
        }, 2))));
        assertArrayEquals(new float[] {1, 7}, state.toArray());
        step.launch(1);
        step.launch(2);
        assertArrayEquals(new float[] {3, 7}, state.toArray());
    }

    @Test
    void keysOfTheStepMoveWithItAndOthersStay() {
        // also where it is that of the recorded step, by chance
        RandomKey fixed = new RandomKey(1, 1, 4);
        Tensor stays = device.scope().zeros(2);
        long[] now = {0};
        Tensor same = device.scope().zeros(2);
        Runnable work = () -> inAScope(scope -> {
            draw(scope, new RandomKey(1, now[0], 3), state);
            CapturedStep.keySteps(device, s -> 10 * s + 5, () -> draw(scope, new RandomKey(1, 10 * now[0] + 5, 3), same));
            draw(scope, fixed, stays);
        });
        step.rehearse(0, work);
        now[0] = 1;
        step.record(1, work);
        for (int s = 1; s < 4; s++) {
            step.launch(s);
            float[] moved = state.toArray();
            float[] other = same.toArray();
            float[] fixedly = stays.toArray();
            int at = s;
            inAScope(scope -> {
                Tensor expected = scope.empty(2);
                draw(scope, new RandomKey(1, at, 3), expected);
                assertArrayEquals(expected.toArray(), moved);
                draw(scope, new RandomKey(1, 10L * at + 5, 3), expected);
                assertArrayEquals(expected.toArray(), other);
                draw(scope, fixed, expected);
                assertArrayEquals(expected.toArray(), fixedly);
            });
        }
    }

    @Test
    void aKeyThatTheHostCountsIsRefused() {
        AtomicInteger draws = new AtomicInteger();
        Runnable work = () -> inAScope(scope -> draw(scope, new RandomKey(1, 50, draws.incrementAndGet()), state));
        step.rehearse(0, work);
        String message = assertThrows(TensorException.class, () -> step.record(1, work)).getMessage();
        assertTrue(message.contains(" draws under RandomKey[seed=1, step=50, stream=2], which is neither the step's"), message);
    }

    private static void draw(Scope scope, RandomKey key, Tensor into) {
        Random.uniform(scope.device().stream(), scope.key(key), Operand.NONE, 0, into.operand(), 0f, 1f);
    }

    @Test
    void aDecisionThatChangesEndsIt() {
        long[] now = {0};
        Runnable work = () -> state.fill(device.decide(() -> now[0] > 2) ? 2 : 1);
        step.rehearse(0, work);
        now[0] = 3;
        assertFalse(step.holds(3), "what was rehearsed is not what would be recorded");
        now[0] = 1;
        assertTrue(step.holds(1));
        step.record(1, work);
        assertTrue(step.holds(1));
        now[0] = 2;
        assertTrue(step.holds(2));
        now[0] = 3;
        assertFalse(step.holds(3));
    }

    private void refused(String reason, Runnable work) {
        step.rehearse(0, work);
        String found = step.refusal().orElse("");
        assertTrue(found.contains(reason), found);
        String message = assertThrows(TensorException.class, () -> step.record(1, work)).getMessage();
        assertTrue(message.contains(reason), message);
    }

    @Test
    void whatALaunchWouldNotRepeatIsRefused() {
        refused("reads values of a tensor on the host", () -> state.toArray());
    }

    @Test
    void valuesOfTheHostsThatNobodyWritesAnewAreRefused() {
        refused("writes values of the host's", () -> inAScope(scope -> scope.of(new float[] {1, 2})));
        assertArrayEquals(new float[] {0, 0}, state.toArray(), "the device works on");
    }

    @Test
    void aStepNumberThatIsReadIsRefused() {
        refused("reads the step", () -> device.hostRead("the step"));
    }

    @Test
    void whatAWriterReadsIsAllowed() {
        rehearseAndRecord(() -> inAScope(scope -> scope.fromHost(DType.I64, target -> {
            device.hostRead("the step");
            target.set(ValueLayout.JAVA_LONG, 0, 1);
        }, 1)));
    }

    @Test
    void aStepThatKeepsMemoryIsRefused() {
        step.rehearse(0, () -> inAScope(scope -> scope.zeros(100)));
        assertEquals(0, step.leftBehind());
        String message = assertThrows(TensorException.class, () -> step.record(1, () -> device.scope().zeros(100))).getMessage();
        assertTrue(message.startsWith("it leaves ") && message.endsWith(" bytes behind in every step"), message);
    }

    @Test
    void aStepThatNeedsMoreMemoryThanItsRehearsalIsRefused() {
        step.rehearse(0, () -> {});
        String message = assertThrows(TensorException.class, () -> step.record(1, () -> inAScope(scope -> scope.zeros(1 << 20)))).getMessage();
        assertEquals("it needs 4194304 bytes that its rehearsal did not need", message);
        assertArrayEquals(new float[] {0, 0}, state.fill(0f).toArray(), "the device works on");
    }

    @Test
    void aStepThatKeepsATensorInAnothersPlaceIsRefused() {
        Scope[] last = {device.scope().open()};
        Tensor[] kept = {last[0].full(1f, 2)};
        Runnable work = () -> {
            inAScope(scope -> state.copyFrom(scope.attach(kept[0]).add(1f)));
            last[0].close();
            // now the pool has as much room as in the rehearsal
            inAScope(scope -> List.of(scope.empty(2), scope.empty(2), scope.empty(2)));
            last[0] = device.scope().open();
            kept[0] = last[0].attach(state).add(1f);
        };
        step.rehearse(0, work);
        assertEquals(256, step.leftBehind());
        assertEquals("", step.refusal().orElse(""));
        String message = assertThrows(TensorException.class, () -> step.record(1, work)).getMessage();
        assertEquals("it leaves 256 bytes behind in every step", message);
    }

    @Test
    void aStepThatFindsNoMemoryLeavesNothing() {
        try (Device small = Device.emulated(1 << 20)) {
            Tensor kept = small.scope().full(2f, 100);
            long before = small.liveBytes();
            try (CapturedStep tried = new CapturedStep(small)) {
                GatunException e = assertThrows(GatunException.class, () -> tried.rehearse(0, () -> {
                    try (Scope scope = small.scope().open()) {
                        scope.key(new RandomKey(1, 0, 3));
                        scope.zeros(1 << 17);
                        scope.zeros(1 << 17);
                    }
                }));
                assertEquals(GatunException.Status.OUT_OF_MEMORY, e.status());
            }
            assertEquals(before, small.liveBytes());
            small.trim();
            assertEquals(before, small.heldBytes());
            assertEquals(200f, kept.sum().item());
        }
    }

    @Test
    void memoryThatTheStepReadsMustStay() {
        Scope table = device.scope().open();
        Tensor values = table.full(3f, 2);
        rehearseAndRecord(() -> inAScope(scope -> state.copyFrom(scope.attach(values).add(1f))));
        assertTrue(step.holds(1));
        table.close();
        assertFalse(step.holds(2));
    }

    @Test
    void memoryOfTheStepIsNotGivenToOthers() {
        Runnable work = () -> inAScope(scope -> state.copyFrom(scope.full(3f, 1 << 12).slice(0, 0, 2)));
        rehearseAndRecord(work);
        inAScope(scope -> {
            Tensor others = scope.full(5f, 1 << 12);
            step.launch(1);
            assertArrayEquals(new float[] {3, 3}, state.toArray());
            assertEquals(5f * (1 << 12), others.sum().item());
        });
    }

    @Test
    void theCpuDoesNotRecord() {
        try (Device cpu = Device.cpu(1)) {
            assertEquals("device cpu does not record steps", assertThrows(TensorException.class, () -> new CapturedStep(cpu)).getMessage());
            AtomicInteger decisions = new AtomicInteger();
            assertEquals(1, cpu.decide(decisions::incrementAndGet));
        }
    }
}
