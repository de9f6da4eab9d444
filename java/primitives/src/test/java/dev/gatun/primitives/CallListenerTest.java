// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Whoever listens hears every call of a context: what it was, of what, and when. */
class CallListenerTest {
    @Test
    void aCallIsToldWithItsOperands() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {3, 4, 6, 8}, 2, 2);
            Operand norm = device.empty(DType.F32, 2);
            List<CallTrace> calls = new ArrayList<>();
            device.context.listen(calls::add);
            long before = System.nanoTime();
            L2Normalize.forward(device.stream, x, x, norm, .5f);
            long after = System.nanoTime();
            CallTrace call = calls.getFirst();
            assertEquals("l2_normalize_forward", call.operation());
            assertEquals(List.of(
                    new CallTrace.Argument("x", x.layout(), false), new CallTrace.Argument("y", x.layout(), true),
                    new CallTrace.Argument("norm", norm.layout(), true)), call.arguments());
            assertEquals(Map.of("epsilon", .5f), call.constants());
            assertTrue(before <= call.start() && call.start() <= call.end() && call.end() <= after);
            assertEquals(1, calls.size());
        }
    }

    @Test
    void workspacesDetailsAndAbsentOperandsAreTold() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 2, 3, 4}, 2, 2);
            Operand y = device.empty(DType.F32, 2, 1);
            MemorySegment workspace = device.arena.allocate(1 << 12, 64);
            List<CallTrace> calls = new ArrayList<>();
            device.context.listen(calls::add);
            Reduction.workspace(device.stream, Reduction.Kind.MAXIMUM, x, y);
            Reduction.reduce(device.stream, Reduction.Kind.MAXIMUM, x, y, workspace);
            Elementwise.fill(device.stream, 2, y);
            assertEquals(List.of("reduction_workspace", "reduction", "elementwise"), calls.stream().map(CallTrace::operation).toList());
            assertEquals("maximum", calls.get(1).detail());
            assertEquals(1 << 12, calls.get(1).bytes());
            assertEquals("fill", calls.get(2).detail());
            assertEquals(List.of(new CallTrace.Argument("y", y.layout(), true)), calls.get(2).arguments());
        }
    }

    @Test
    void memoryIsTold() {
        try (Native device = new Native()) {
            List<CallTrace> calls = new ArrayList<>();
            device.context.listen(calls::add);
            MemorySegment memory = NativeMemory.allocate(device.context, 128);
            NativeMemory.clear(device.stream, memory);
            NativeMemory.copy(device.stream, memory, device.arena.allocate(128));
            NativeMemory.free(device.context, memory);
            assertEquals(List.of("memory_allocate", "memory_clear", "memory_copy", "memory_free"),
                    calls.stream().map(CallTrace::operation).toList());
            assertTrue(calls.stream().allMatch(call -> call.bytes() == 128), calls.toString());
        }
    }

    @Test
    void failedCallsAndThoseAfterTheEndAreNotTold() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 2, 2);
            List<CallTrace> calls = new ArrayList<>();
            device.context.listen(calls::add);
            assertTrue(device.stream.isListenedTo());
            assertThrows(GatunException.class, () -> L2Normalize.forward(device.stream, x, x, device.empty(DType.F32, 3), .5f));
            device.context.stopListening();
            assertFalse(device.stream.isListenedTo());
            L2Normalize.forward(device.stream, x, x, device.empty(DType.F32, 2), .5f);
            device.stream.trace("other", List.of(), () -> {});
            assertEquals(List.of(), calls);
        }
    }

    @Test
    void anotherLibrarysCallIsToldByItsCaller() {
        try (Native device = new Native()) {
            List<CallTrace> calls = new ArrayList<>();
            device.context.listen(calls::add);
            List<CallTrace.Argument> arguments = List.of(new CallTrace.Argument("a", Layout.of(DType.F32, 3), false));
            boolean[] done = new boolean[1];
            device.stream.trace("other", arguments, () -> done[0] = true);
            assertTrue(done[0]);
            assertEquals("other", calls.getFirst().operation());
            assertEquals(arguments, calls.getFirst().arguments());
        }
    }

    @Test
    void aDeviceBehindTheHostIsWaitedFor() {
        try (GatunContext context = GatunContext.emulated(0, GatunContext.Late.ALL); GatunStream stream = context.stream()) {
            MemorySegment memory = NativeMemory.allocate(context, 16);
            Operand y = new Operand(memory, Layout.of(DType.F32, 4));
            try (GatunEvent done = new GatunEvent(context)) {
                List<Boolean> finished = new ArrayList<>();
                context.listen(call -> finished.add(done.isDone()));
                done.record(stream);
                Elementwise.fill(stream, 1, y);
                context.stopListening();
                assertEquals(List.of(true), finished);
            }
            NativeMemory.free(context, memory);
        }
    }
}
