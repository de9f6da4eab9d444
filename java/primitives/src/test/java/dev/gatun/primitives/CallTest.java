// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Whatever memory a caller passes, the answer is an exception that names the operand; the process lives on. */
class CallTest {
    private static final Layout VECTOR = Layout.of(DType.F32, 4);

    private static void refused(String operation, String message, Executable action) {
        GatunException e = assertThrows(GatunException.class, action);
        assertEquals(operation, e.operation());
        assertEquals(GatunException.Status.INVALID_ARGUMENT, e.status());
        assertTrue(e.getMessage().contains(message), e.getMessage());
        assertEquals(-1, e.getMessage().indexOf('\n'));
    }

    /** ema reads its operand `values` and writes `average`. */
    private static void ema(Native device, Operand average, Operand values) {
        Optimizer.ema(device.stream, average, values, device.of(new float[] {0.5f}, 1), Operand.NONE);
    }

    private static Operand vector(MemorySegment segment) {
        return new Operand(segment, VECTOR);
    }

    @Test
    void memoryThatAKernelCannotUseIsNamed() {
        try (Native device = new Native()) {
            Operand good = device.empty(DType.F32, 4);
            refused("optimizer_ema", "values is on the Java heap", () -> ema(device, good, vector(MemorySegment.ofArray(new float[4]))));
            refused("optimizer_ema", "values is NULL", () -> ema(device, good, vector(MemorySegment.NULL)));
            refused("optimizer_ema", "values has 15 bytes, f32[4] needs 16", () -> ema(device, good, vector(good.segment().asSlice(0, 15))));
            refused("optimizer_ema", "average is written, but its memory is read-only",
                    () -> ema(device, vector(good.segment().asReadOnly()), good));
            MemorySegment shifted = device.arena.allocate(20, 4).asSlice(1, 16);
            refused("optimizer_ema", "values is not aligned to its f32 elements", () -> ema(device, good, vector(shifted)));
            Arena closed = Arena.ofConfined();
            MemorySegment freed = closed.allocate(16, 4);
            closed.close();
            refused("optimizer_ema", "average was freed already", () -> ema(device, vector(freed), good));
            Operand huge = new Operand(good.segment(), Layout.strided(DType.F32, new long[] {3, 1}, new long[] {Long.MAX_VALUE / 2, 1}));
            refused("optimizer_ema", "values is too large", () -> ema(device, good, huge));
            // and the same memory is fine when it is only read
            ema(device, device.of(new float[4], 4), vector(good.segment().asReadOnly()));
        }
    }

    @Test
    void memoryOfAnotherThreadIsNamed() throws Exception {
        try (Native device = new Native()) {
            Operand good = device.of(new float[4], 4);
            CompletableFuture<Void> elsewhere = CompletableFuture.runAsync(() -> Optimizer.ema(
                    device.stream, vector(Arena.ofAuto().allocate(16, 4)), good, vector(Arena.ofAuto().allocate(16, 4)), Operand.NONE));
            ExecutionException e = assertThrows(ExecutionException.class, elsewhere::get);
            assertTrue(e.getMessage().contains("values belongs to the confined arena of another thread"), e.getMessage());
        }
    }

    @Test
    void workspacesAreCheckedLikeOperands() {
        try (Native device = new Native()) {
            Operand gradients = device.empty(DType.F32, 4);
            Operand norm = device.empty(DType.F32, 1);
            long bytes = Optimizer.gradientNormWorkspace(device.stream, new Operand(MemorySegment.NULL, VECTOR));
            MemorySegment workspace = device.arena.allocate(bytes + 64, 64);
            Optimizer.gradientNorm(device.stream, gradients, norm, Operand.NONE, Operand.NONE, 1, workspace);
            for (var bad : new Object[][] {
                {MemorySegment.NULL, "the workspace has 0 bytes"},
                {workspace.asSlice(0, bytes - 1), "the workspace has " + (bytes - 1) + " bytes"},
                {workspace.asSlice(8), "the workspace is not aligned to 64 bytes"},
                {workspace.asReadOnly(), "workspace is written, but its memory is read-only"},
                {MemorySegment.ofArray(new double[64]), "workspace is on the Java heap"}
            }) {
                refused("optimizer_gradient_norm", (String) bad[1], () -> Optimizer.gradientNorm(
                        device.stream, gradients, norm, Operand.NONE, Operand.NONE, 1, (MemorySegment) bad[0]));
            }
        }
    }

    @Test
    void closedDevicesAreNamed() {
        try (Native device = new Native()) {
            Operand good = device.empty(DType.F32, 4);
            GatunContext context = GatunContext.cpu(1);
            GatunStream stream = context.stream();
            Operand momentum = device.of(new float[] {1}, 1);
            // what a call leaves for the next one must not bring a closed stream back
            Optimizer.ema(stream, good, good, momentum, Operand.NONE);
            context.close();
            refused("context", "the context is closed", () -> Optimizer.ema(stream, good, good, momentum, Operand.NONE));
            stream.close();
            stream.close();
            context.close();
            refused("stream", "the stream is closed", () -> Optimizer.ema(stream, good, good, momentum, Operand.NONE));
            refused("context", "the context is closed", context::stream);
            refused("context", "the context is closed", () -> NativeMemory.allocate(context, 8));
        }
    }

    @Test
    void allocatedMemoryIsWholeAndOnlyItsOwnIsFreed() {
        try (Native device = new Native()) {
            MemorySegment segment = NativeMemory.allocate(device.context, 100);
            assertEquals(100, segment.byteSize());
            assertEquals(0, segment.address() % 64);
            segment.set(ValueLayout.JAVA_BYTE, 99, (byte) 1);
            assertThrows(IndexOutOfBoundsException.class, () -> segment.set(ValueLayout.JAVA_BYTE, 100, (byte) 1));
            refused("memory_free", "is not one that NativeMemory allocated", () -> NativeMemory.free(device.context, segment.asSlice(8)));
            refused("memory_free", "is not one that NativeMemory allocated",
                    () -> NativeMemory.free(device.context, device.arena.allocate(64, 64)));
            refused("memory_free", "is not one that NativeMemory allocated",
                    () -> NativeMemory.free(device.context, MemorySegment.ofArray(new byte[64])));
            NativeMemory.free(device.context, segment);
            NativeMemory.free(device.context, MemorySegment.NULL);
            refused("memory_allocate", "bytes is -1", () -> NativeMemory.allocate(device.context, -1));
            GatunException e =
                    assertThrows(GatunException.class, () -> NativeMemory.allocate(device.context, Long.MAX_VALUE / 2));
            assertEquals(GatunException.Status.OUT_OF_MEMORY, e.status());
        }
    }
}
