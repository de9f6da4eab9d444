// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Memory of one device in an operation of another is an error of one line that names the operand; it would end the process otherwise. */
class WrongDeviceTest {
    private static final long BYTES = 1 << 12;
    private static final Layout ROWS = Layout.of(DType.F32, 4, 8);
    private static final Layout ROW = Layout.of(DType.F32, 4);
    private static final Layout IDS = Layout.of(DType.I64, 4);
    private static final Layout INDICES = Layout.of(DType.I32, 4);

    /** Calls an operation; where each of its pieces of memory lies is asked by name. */
    private interface Operation {
        void call(GatunStream stream, Function<String, MemorySegment> memory);
    }

    private static Operand of(Function<String, MemorySegment> memory, String name, Layout layout) {
        return new Operand(memory.apply(name), layout);
    }

    private static final Map<String, Operation> OPERATIONS = new LinkedHashMap<>();

    static {
        OPERATIONS.put("fill: y", (s, m) -> Elementwise.fill(s, 1, of(m, "y", ROWS)));
        OPERATIONS.put("add: x z y", (s, m) ->
                Elementwise.binary(s, Elementwise.Binary.ADD, of(m, "x", ROWS), of(m, "z", ROWS), of(m, "y", ROWS)));
        OPERATIONS.put("reduce: x y workspace", (s, m) ->
                Reduction.reduce(s, Reduction.Kind.SUM, of(m, "x", ROWS), of(m, "y", Layout.of(DType.F32, 1, 8)), m.apply("workspace")));
        OPERATIONS.put("normal: key ids out", (s, m) -> Random.normal(s, m.apply("key"), of(m, "ids", IDS), 0, of(m, "out", ROWS), 0, 1));
        OPERATIONS.put("permutation: key out workspace", (s, m) ->
                Random.permutation(s, m.apply("key"), 4, of(m, "out", INDICES), m.apply("workspace")));
        OPERATIONS.put("softmax: x y", (s, m) -> Softmax.forward(s, 1, of(m, "x", ROWS), of(m, "y", ROWS)));
        OPERATIONS.put("l2_normalize: x y norm", (s, m) ->
                L2Normalize.forward(s, of(m, "x", ROWS), of(m, "y", ROWS), of(m, "norm", ROW), 1e-12f));
        OPERATIONS.put("gather_rows: x indices y", (s, m) ->
                GatherRows.forward(s, of(m, "x", ROWS), of(m, "indices", INDICES), of(m, "y", ROWS)));
        OPERATIONS.put("clear: the segment", (s, m) -> NativeMemory.clear(s, m.apply("the segment")));
    }

    private static String[] operands(String operation) {
        String list = operation.substring(operation.indexOf(": ") + 2);
        return list.equals("the segment") ? new String[] {list} : list.split(" ");
    }

    @Test
    void everyOperandIsLookedUp() {
        try (GatunContext cpu = GatunContext.cpu(1);
                GatunContext emulated = GatunContext.emulated();
                Arena arena = Arena.ofConfined()) {
            MemorySegment device = NativeMemory.allocate(emulated, BYTES);
            MemorySegment host = arena.allocate(BYTES, 64);
            MemorySegment hostByHand = NativeMemory.allocate(cpu, BYTES);
            for (Map.Entry<String, Operation> operation : OPERATIONS.entrySet()) {
                for (String operand : operands(operation.getKey())) {
                    refused(operation, cpu, host, operand, device, "memory of device emulated");
                    refused(operation, emulated, device, operand, host, "no device memory");
                    refused(operation, emulated, device, operand, hostByHand, "no device memory");
                }
            }
            NativeMemory.free(emulated, device);
            NativeMemory.free(cpu, hostByHand);
        }
    }

    private static void refused(
            Map.Entry<String, Operation> operation, GatunContext context, MemorySegment right, String operand, MemorySegment wrong, String part) {
        try (GatunStream stream = context.stream()) {
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> operation.getValue().call(stream, name -> name.equals(operand) ? wrong : right),
                    operation.getKey() + ", " + operand);
            assertEquals(GatunException.Status.INVALID_ARGUMENT, e.status());
            assertTrue(e.getMessage().contains(operand + " is " + part), e.getMessage());
            assertTrue(e.getMessage().contains("the stream is of device " + context.name()), e.getMessage());
            stream.synchronize();
        }
    }

    @Test
    void copiesReachTheHostAndOneDevice() {
        try (GatunContext cpu = GatunContext.cpu(1);
                GatunContext emulated = GatunContext.emulated();
                GatunStream onCpu = cpu.stream();
                GatunStream onDevice = emulated.stream();
                Arena arena = Arena.ofConfined()) {
            MemorySegment device = NativeMemory.allocate(emulated, 8);
            MemorySegment host = arena.allocate(8);
            NativeMemory.copy(onDevice, device, host);
            onDevice.synchronize();
            for (MemorySegment[] pair : new MemorySegment[][] {{device, host}, {host, device}}) {
                String message = assertThrows(GatunException.class, () -> NativeMemory.copy(onCpu, pair[0], pair[1])).getMessage();
                assertTrue(message.contains("memory of device emulated, the stream is of device cpu"), message);
            }
            NativeMemory.free(emulated, device);
        }
    }

    @Test
    void memoryIsItsContextsAndPinnedMemoryEverybodys() {
        try (GatunContext one = GatunContext.emulated();
                GatunContext other = GatunContext.emulated();
                GatunContext cpu = GatunContext.cpu(1);
                GatunStream own = one.stream();
                GatunStream stream = other.stream();
                GatunStream onCpu = cpu.stream();
                Arena arena = Arena.ofConfined()) {
            MemorySegment device = NativeMemory.allocate(one, 8);
            MemorySegment pinned = NativeMemory.allocateHost(one, 8);
            Layout two = Layout.of(DType.F32, 2);
            Elementwise.fill(stream, 2, new Operand(pinned, two));
            stream.synchronize();
            Elementwise.affine(onCpu, 1, new Operand(pinned, two), 1, new Operand(pinned, two));
            assertEquals(3, pinned.get(ValueLayout.JAVA_FLOAT, 4));
            // of another context on the same device; a copy may cross
            String message = assertThrows(GatunException.class, () -> Elementwise.fill(stream, 1, new Operand(device, two))).getMessage();
            assertTrue(message.contains("y is memory of another context of device emulated"), message);
            Elementwise.fill(own, 5, new Operand(device, two));
            own.synchronize();
            MemorySegment host = arena.allocate(8);
            NativeMemory.copy(stream, host, device);
            stream.synchronize();
            assertEquals(5, host.get(ValueLayout.JAVA_FLOAT, 4));
            // each context frees its own, once, and what was freed is nobody's
            assertThrows(GatunException.class, () -> NativeMemory.free(other, device));
            Elementwise.fill(own, 1, new Operand(device, two));
            NativeMemory.free(one, device);
            assertThrows(GatunException.class, () -> NativeMemory.free(one, device));
            message = assertThrows(GatunException.class, () -> Elementwise.fill(own, 1, new Operand(device, two))).getMessage();
            assertTrue(message.contains("freed already"), message);
            NativeMemory.freeHost(one, pinned);
        }
    }
}
