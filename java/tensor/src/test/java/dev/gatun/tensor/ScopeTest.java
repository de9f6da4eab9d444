// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.GatunException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ScopeTest {
    @Test
    void useAfterCloseIsAnException() {
        try (Device device = Device.cpu(1)) {
            Scope step = device.scope().open();
            Tensor x = step.of(new float[] {1, 2, 3});
            Tensor view = x.slice(0, 1, 3);
            step.close();
            assertFalse(x.isLive());
            assertThrows(TensorException.class, x::toArray);
            assertThrows(TensorException.class, view::segment);
            assertThrows(TensorException.class, () -> x.add(1));
            assertThrows(TensorException.class, () -> step.zeros(2));
            // even when the memory is in use again
            Tensor other = device.scope().of(new float[] {7, 8, 9});
            assertThrows(TensorException.class, x::operand);
            assertArrayEquals(new float[] {7, 8, 9}, other.toArray());
        }
    }

    @Test
    void closingAScopeClosesThoseOpenedInIt() {
        try (Device device = Device.cpu(1)) {
            Scope outer = device.scope().open();
            Tensor inner = outer.open().open().zeros(4);
            outer.close();
            assertFalse(inner.isLive());
            assertEquals(0, device.liveBytes());
            outer.close();
        }
    }

    @Test
    void resultsLiveInTheYoungestScope() {
        try (Device device = Device.cpu(1)) {
            Tensor old = device.scope().of(new float[] {1});
            try (Scope batch = device.scope().open();
                    Scope step = device.scope().open()) {
                Tensor a = batch.of(new float[] {2});
                Tensor b = step.of(new float[] {3});
                assertSame(batch, old.add(a).scope());
                assertSame(step, a.mul(b).scope());
                assertSame(step, b.mul(a).scope());
                assertSame(step, step.attach(old).add(old).scope());
            }
        }
    }

    @Test
    void keepPromotesWithoutCopying() {
        try (Device device = Device.cpu(1)) {
            Tensor kept;
            Tensor small;
            MemorySegment memory;
            try (Scope step = device.scope().open()) {
                Tensor x = step.full(5, 1000);
                memory = x.segment();
                small = x.slice(0, 0, 2).keep(device.scope());
                kept = x.keep(device.scope());
            }
            assertEquals(memory.address(), kept.segment().address());
            assertEquals(5, kept.toArray()[999]);
            // a part is copied, so that it does not hold the whole
            assertTrue(small.segment().address() != memory.address());
            assertArrayEquals(new float[] {5, 5}, small.toArray());
        }
    }

    @Test
    void repeatedStepsAskTheSystemForNothing() {
        try (Device device = Device.cpu(1)) {
            Tensor w = device.scope().full(.1f, 17, 5);
            long after = 0;
            for (int i = 0; i < 300; i++) {
                try (Scope step = device.scope().open()) {
                    Tape tape = Tape.on(step);
                    Tensor x = step.full(i, 3 + i % 2, 17);
                    tape.backward(x.matmul(tape.watch(w)).square().mean());
                }
                if (i == 3) {
                    after = device.allocatorRequests();
                    assertTrue(after > 0);
                }
            }
            assertEquals(after, device.allocatorRequests());
            // w alone is live: its size class
            assertEquals(Allocator.sizeClass(17 * 5 * 4), device.liveBytes());
            assertTrue(device.peakBytes() > device.liveBytes());
        }
    }

    @Test
    void tensorsOfTwoDevicesDoNotMix() {
        try (Device one = Device.cpu(1);
                Device two = Device.cpu(1)) {
            Tensor a = one.scope().zeros(2);
            Tensor b = two.scope().zeros(2);
            assertThrows(TensorException.class, () -> a.add(b));
        }
    }

    @Test
    void sizeClassesWasteAtMostAQuarterAndOfLargeBlocksASixtyFourth() {
        for (long bytes = 1; bytes < 1L << 33; bytes += 1 + bytes / 7) {
            long size = Allocator.sizeClass(bytes);
            assertTrue(size >= bytes, bytes + " in " + size);
            assertTrue(size <= Math.max(256, bytes + bytes / (bytes > 1 << 20 ? 64 : 4) + 256), bytes + " in " + size);
            assertEquals(size, Allocator.sizeClass(size));
        }
    }

    @Test
    void aLargerBlockStandsInForALargeOne() {
        try (Device device = Device.cpu(1)) {
            Allocator allocator = device.allocator();
            MemorySegment whole = allocator.allocate(6 << 20);
            allocator.release(whole);
            long requests = allocator.requests();
            long live = device.liveBytes();
            MemorySegment part = allocator.allocate(4 << 20);
            assertEquals(whole.address(), part.address());
            // its rest is neither lent nor counted
            assertEquals(4 << 20, part.byteSize());
            assertEquals(live + (4 << 20), device.liveBytes());
            MemorySegment other = allocator.allocate(6 << 20);
            assertNotEquals(whole.address(), other.address());
            allocator.release(part);
            assertEquals(whole, allocator.allocate(6 << 20));
            assertEquals(requests + 1, allocator.requests());
            allocator.release(whole);
            // less than half of it, or small
            assertNotEquals(whole.address(), allocator.allocate(2 << 20).address());
            allocator.release(other);
            allocator.release(allocator.allocate(900_000));
            assertNotEquals(Allocator.sizeClass(900_000), allocator.allocate(600_000).byteSize());
            assertEquals(requests + 4, allocator.requests());
        }
    }

    @Test
    void aRecordedStepsAllocatorHandsOutBlocksOfTheirClassAlone() {
        try (Device device = Device.cpu(1)) {
            Allocator pool = device.pool();
            MemorySegment whole = pool.allocate(6 << 20);
            pool.release(whole);
            MemorySegment part = pool.allocate(4 << 20);
            assertNotEquals(whole.address(), part.address());
            pool.watch(true);
            assertEquals(whole, pool.allocate(6 << 20));
            pool.unwatch();
            pool.close();
        }
    }

    @Test
    void aDeviceCountsTheBytesOfAllItsAllocators() {
        try (Device device = Device.cpu(1)) {
            long live = device.liveBytes();
            long held = device.heldBytes();
            Allocator pool = device.pool();
            MemorySegment one = pool.allocate(5000);
            MemorySegment other = device.allocator().allocate(3 << 20);
            long both = one.byteSize() + other.byteSize();
            assertEquals(live + both, device.liveBytes());
            assertEquals(live + both, device.peakBytes());
            assertEquals(held + both, device.heldBytes());
            device.allocator().release(other);
            pool.close();
            // closed while a block is on loan
            assertEquals(held + both, device.heldBytes());
            pool.release(one);
            assertEquals(live, device.liveBytes());
            assertEquals(live + both, device.peakBytes());
            assertEquals(held + other.byteSize(), device.heldBytes());
            device.trim();
            assertEquals(held, device.heldBytes());
        }
    }

    @Test
    void allocatorReusesAndFallsBackWhenRefused() {
        try (Arena arena = Arena.ofConfined()) {
            List<MemorySegment> freed = new ArrayList<>();
            int[] refusals = {0};
            int[] elsewhere = {0};
            GatunException.Status[] status = {GatunException.Status.OUT_OF_MEMORY};
            Allocator allocator = new Allocator(new Allocator.Source() {
                @Override
                public MemorySegment allocate(long bytes) {
                    if (refusals[0] > 0) {
                        refusals[0]--;
                        throw new GatunException(status[0], "memory_allocate", "no memory");
                    }
                    return arena.allocate(bytes);
                }

                @Override
                public void free(MemorySegment memory) {
                    freed.add(memory);
                }

                @Override
                public void trim() {
                    elsewhere[0]++;
                }

                @Override
                public GatunException refusal(long bytes, long trimmed, GatunException refused) {
                    return new GatunException(refused.status(), "allocate", bytes + " after " + trimmed);
                }
            }, new Allocator.Usage(), Allocator.Fit.NEAR);
            MemorySegment a = allocator.allocate(300);
            allocator.release(a);
            assertSame(a, allocator.allocate(290));
            assertNotSame(a, allocator.allocate(290));
            assertEquals(2, allocator.requests());
            allocator.release(a);
            refusals[0] = 1;
            // the cached block is given back before asking again, here and elsewhere
            MemorySegment b = allocator.allocate(5000);
            assertEquals(List.of(a), freed);
            assertEquals(1, elsewhere[0]);
            allocator.release(b);
            refusals[0] = 2;
            GatunException e = assertThrows(GatunException.class, () -> allocator.allocate(9000));
            assertEquals("allocate: 10240 after 5120", e.getMessage());
            assertEquals(List.of(a, b), freed);
            status[0] = GatunException.Status.INTERNAL;
            refusals[0] = 1;
            e = assertThrows(GatunException.class, () -> allocator.allocate(9000));
            assertEquals("memory_allocate: no memory", e.getMessage());
            assertEquals(2, elsewhere[0]);
        }
    }
}
