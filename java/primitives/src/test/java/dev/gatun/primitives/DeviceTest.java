// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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
    void librariesGetTheCudaStreamBehindAStream() {
        try (GatunContext emulated = GatunContext.emulated();
                GatunStream one = emulated.stream();
                GatunStream two = emulated.stream();
                GatunContext cpu = GatunContext.cpu(1);
                GatunStream none = cpu.stream()) {
            assertTrue(one.cudaStream().address() != 0);
            assertEquals(one.cudaStream(), one.cudaStream());
            assertTrue(one.cudaStream().address() != two.cudaStream().address());
            GatunException e = assertThrows(GatunException.class, none::cudaStream);
            assertEquals("stream_handle: the CPU has no CUDA stream", e.getMessage());
            assertEquals(GatunException.Status.UNSUPPORTED, e.status());
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
    void workIsRecordedOnceAndDoneOften() {
        try (Arena arena = Arena.ofConfined();
                GatunContext context = GatunContext.emulated();
                GatunStream stream = context.stream()) {
            MemorySegment x = NativeMemory.allocate(context, 8);
            MemorySegment y = NativeMemory.allocate(context, 8);
            MemorySegment host = arena.allocate(8);
            Layout two = Layout.of(DType.F32, 2);
            try (GatunGraph graph = GatunGraph.record(
                    stream, () -> Elementwise.affine(stream, 2f, new Operand(x, two), 1f, new Operand(y, two)))) {
                for (float value : new float[] {1, 5}) {
                    NativeMemory.copy(stream, x, arena.allocateFrom(ValueLayout.JAVA_FLOAT, value, -value));
                    graph.launch(stream);
                    NativeMemory.copy(stream, host, y);
                    stream.synchronize();
                    assertArrayEquals(new float[] {2 * value + 1, 1 - 2 * value}, host.toArray(ValueLayout.JAVA_FLOAT));
                }
            }
            GatunException refused = assertThrows(
                    GatunException.class, () -> GatunGraph.record(stream, () -> NativeMemory.free(context, NativeMemory.allocate(context, 8))));
            assertTrue(refused.getMessage().contains("Capture"), refused.getMessage());
            stream.synchronize();  // the recording is over
            NativeMemory.free(context, x);
            NativeMemory.free(context, y);
        }
        try (GatunContext cpu = GatunContext.cpu(1);
                GatunStream stream = cpu.stream()) {
            assertThrows(GatunException.class, () -> GatunGraph.record(stream, () -> {}));
        }
    }

    @Test
    void everyLibraryHasTheSameInterface() {
        assertEquals(NativeLibrary.of(DeviceKind.CPU).abi(), NativeLibrary.of(DeviceKind.EMULATED).abi());
    }

    @Test
    void kindsAreNamed() {
        assertEquals(DeviceKind.EMULATED, DeviceKind.of("emulated"));
        String message = assertThrows(GatunException.class, () -> DeviceKind.of("gpu")).getMessage();
        assertTrue(message.contains("gpu") && message.contains("[cpu, cuda, emulated]"), message);
    }
}
