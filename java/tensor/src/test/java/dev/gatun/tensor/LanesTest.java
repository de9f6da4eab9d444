// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;

class LanesTest {
    @Test
    void everyChainRunsOnce() {
        for (int threads : new int[] {1, 2, 3, 6}) {
            try (Device device = Device.cpu(threads)) {
                for (int count : new int[] {0, 1, 2, 5, 40}) {
                    AtomicIntegerArray ran = new AtomicIntegerArray(Math.max(count, 1));
                    device.lanes().run(device.scope(), count, (stream, scope, index) -> {
                        assertTrue(scope.isOpen());
                        ran.incrementAndGet(index);
                    });
                    for (int i = 0; i < count; i++) {
                        assertEquals(1, ran.get(i), threads + " threads, chain " + i + " of " + count);
                    }
                }
            }
        }
    }

    @Test
    void chainsRunSideBySide() {
        try (Device device = Device.cpu(2)) {
            CountDownLatch both = new CountDownLatch(2);
            Set<Thread> threads = ConcurrentHashMap.newKeySet();
            // each waits for the other
            device.lanes().run(device.scope(), 2, (stream, scope, index) -> {
                threads.add(Thread.currentThread());
                await(both);
            });
            assertEquals(2, threads.size());
        }
    }

    @Test
    void whileSomebodyListensChainsTakeTurnsOnAllThreads() {
        try (Device device = Device.cpu(2)) {
            device.stream().context().listen(call -> {});
            device.lanes().run(device.scope(), 3, (stream, scope, index) -> assertSame(device.stream(), stream));
        }
    }

    @Test
    void aFailureEndsItsLaneAndIsToldWhenTheOthersAreDone() {
        try (Device device = Device.cpu(2)) {
            AtomicInteger done = new AtomicInteger();
            RuntimeException failed = assertThrows(TensorException.class, () -> device.lanes().run(device.scope(), 8, (stream, scope, index) -> {
                done.incrementAndGet();
                if (index == 0) {
                    throw new TensorException("chain 0");
                }
            }));
            assertEquals("chain 0", failed.getMessage());
            // of the other lane all four
            assertEquals(5, done.get());
            assertEquals(0, device.liveBytes());
        }
    }

    /** An error is no exception, and yet the memory that other chains work on must not be freed under them. */
    @Test
    void anErrorIsToldWhenTheOthersAreDone() {
        for (boolean callers : new boolean[] {true, false}) {
            try (Device device = Device.cpu(2)) {
                Thread caller = Thread.currentThread();
                CountDownLatch failing = new CountDownLatch(1);
                CountDownLatch both = new CountDownLatch(2);
                AtomicInteger done = new AtomicInteger();
                Error failed = assertThrows(AssertionError.class, () -> device.lanes().run(device.scope(), 2, (stream, scope, index) -> {
                    await(both);
                    if (Thread.currentThread() == caller == callers) {
                        failing.countDown();
                        throw new AssertionError("one of them");
                    }
                    await(failing);
                    Thread.yield();
                    scope.empty(1 << 20);
                    done.incrementAndGet();
                }));
                assertEquals("one of them", failed.getMessage());
                assertEquals(1, done.get());
                assertEquals(0, device.liveBytes());
            }
        }
    }

    /** Whether two chains overlap is chance; what they ask the system for is not. */
    @Test
    void aLaneHasTheSameChainsAndItsOwnMemoryEveryTime() {
        try (Device device = Device.cpu(2)) {
            CountDownLatch first = new CountDownLatch(1);
            Lanes.Chain alone = (stream, scope, index) -> {
                if (index > 0) {
                    waitFor(first);
                }
                try (Scope work = scope.open()) {
                    work.empty((3 << 20) + index);
                }
                first.countDown();
            };
            device.lanes().run(device.scope(), 2, alone);
            long requests = device.allocatorRequests();
            long held = device.heldBytes();
            assertTrue(requests >= 2);
            CountDownLatch both = new CountDownLatch(2);
            device.lanes().run(device.scope(), 2, (stream, scope, index) -> {
                try (Scope work = scope.open()) {
                    work.empty((3 << 20) + index);
                    await(both);
                }
            });
            assertEquals(requests, device.allocatorRequests());
            assertEquals(held, device.heldBytes());
            device.trim();
            assertTrue(device.heldBytes() < held);
            assertEquals(0, device.liveBytes());
        }
    }

    private static void waitFor(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void await(CountDownLatch latch) {
        latch.countDown();
        waitFor(latch);
    }

    @Test
    void anInterruptIsKeptForTheCaller() {
        try (Device device = Device.cpu(2)) {
            Thread.currentThread().interrupt();
            AtomicInteger done = new AtomicInteger();
            device.lanes().run(device.scope(), 4, (stream, scope, index) -> done.incrementAndGet());
            assertEquals(4, done.get());
            assertTrue(Thread.interrupted());
            assertFalse(Thread.interrupted());
        }
    }
}
