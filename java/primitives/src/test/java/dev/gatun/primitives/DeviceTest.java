// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Memory, copies and events of each device, and what is said where there is none. */
class DeviceTest {
    @Test
    void copiesGoToTheDeviceAndBack() {
        for (GatunContext context : new GatunContext[] {GatunContext.cpu(1), GatunContext.emulated()}) {
            try (Arena arena = Arena.ofConfined();
                    context;
                    GatunStream stream = context.stream();
                    GatunEvent start = new GatunEvent(context);
                    GatunEvent end = new GatunEvent(context)) {
                float[] values = {1, 2, 3, 4};
                MemorySegment host = arena.allocateFrom(ValueLayout.JAVA_FLOAT, values);
                MemorySegment back = arena.allocate(host.byteSize());
                MemorySegment memory = NativeMemory.allocate(context, host.byteSize());
                GatunException unrecorded = assertThrows(GatunException.class, () -> end.secondsSince(start));
                assertTrue(unrecorded.getMessage().contains("start has not been recorded"), unrecorded.getMessage());
                start.record(stream);
                NativeMemory.copy(stream, memory, host);
                NativeMemory.clear(stream, memory.asSlice(4, 4));
                NativeMemory.copy(stream, back, memory);
                end.record(stream);
                stream.synchronize();
                context.synchronize();
                assertArrayEquals(new float[] {1, 0, 3, 4}, back.toArray(ValueLayout.JAVA_FLOAT));
                assertTrue(end.secondsSince(start) >= 0);
                assertThrows(GatunException.class, () -> NativeMemory.copy(stream, memory, back.asSlice(4)));
                assertThrows(GatunException.class, () -> NativeMemory.copy(stream, memory, MemorySegment.ofArray(values)));
                NativeMemory.free(context, memory);
            }
        }
    }

    @Test
    void anOperationRunsOnTheEmulatedDevice() {
        float[] x = {3, 4, 0, 0, 5, 12};
        float[] expected = new float[6];
        try (Arena arena = Arena.ofConfined();
                GatunContext context = GatunContext.emulated();
                GatunStream stream = context.stream()) {
            MemorySegment host = arena.allocateFrom(ValueLayout.JAVA_FLOAT, x);
            MemorySegment in = NativeMemory.allocate(context, 24);
            MemorySegment out = NativeMemory.allocate(context, 24);
            MemorySegment norm = NativeMemory.allocate(context, 12);
            NativeMemory.copy(stream, in, host);
            Layout layout = Layout.of(DType.F32, 3, 2);
            L2Normalize.forward(stream, new Operand(in, layout), new Operand(out, layout), new Operand(norm, Layout.of(DType.F32, 3)), 1e-12f);
            MemorySegment back = arena.allocate(24);
            NativeMemory.copy(stream, back, out);
            stream.synchronize();
            for (int row = 0; row < 3; row++) {
                float length = (float) Math.hypot(x[2 * row], x[2 * row + 1]);
                for (int i = 0; i < 2; i++) {
                    expected[2 * row + i] = length == 0 ? 0 : x[2 * row + i] / length;
                }
            }
            assertArrayEquals(expected, back.toArray(ValueLayout.JAVA_FLOAT), 1e-7f);
            for (MemorySegment memory : new MemorySegment[] {in, out, norm}) {
                NativeMemory.free(context, memory);
            }
        }
    }

    @Test
    void everyLibraryHasTheSameInterface() {
        List<String> cpu = NativeLibrary.of(DeviceKind.CPU).abi().lines().toList();
        NativeLibrary.of(DeviceKind.EMULATED).abi().lines().forEach(line -> assertTrue(cpu.contains(line), line));
    }

    @Test
    void kindsAreNamed() {
        assertEquals(DeviceKind.EMULATED, DeviceKind.of("emulated"));
        String message = assertThrows(GatunException.class, () -> DeviceKind.of("gpu")).getMessage();
        assertTrue(message.contains("gpu") && message.contains("[cpu, cuda, emulated]"), message);
    }
}
