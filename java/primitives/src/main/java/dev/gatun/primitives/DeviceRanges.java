// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import org.jspecify.annotations.Nullable;

/**
 * Which addresses are which device's. A kernel that gets another device's address, or the host's, would end the process or spoil the device's
 * context, so every operand is looked up before. Addresses are the process's, and so is this table; the CPU's memory is not in it.
 */
final class DeviceRanges {
    private static final Downcall QUERY = Downcall.pointers("gatun_memory_query", 5);
    private static final int HOST = 0;
    private static final int DEVICE = 2;

    private record Range(long end, GatunContext context, boolean pinned) {}

    private static final ConcurrentSkipListMap<Long, Range> RANGES = new ConcurrentSkipListMap<>();
    /** Whether there ever was memory of another device than the CPU. */
    private static volatile boolean used;

    private DeviceRanges() {}

    static void add(GatunContext context, MemorySegment memory, boolean pinned) {
        if (context.kind() != DeviceKind.CPU && memory.byteSize() > 0) {
            used = true;
            RANGES.put(memory.address(), new Range(memory.address() + memory.byteSize(), context, pinned));
        }
    }

    /** Forgets memory while {@code free} gives it back; its address may be another's at once. */
    static void remove(MemorySegment memory, Runnable free) {
        Range range = RANGES.remove(memory.address());
        try {
            free.run();
        } catch (RuntimeException stays) {
            if (range != null) {
                RANGES.put(memory.address(), range);
            }
            throw stays;
        }
    }

    /**
     * Checks that an operation on a stream reaches memory, and that the memory is of the stream's context: what another one works on, nothing
     * orders.
     *
     * @throws GatunException INVALID_ARGUMENT if the memory is another context's, or the host's and the stream's device has its own
     */
    static void requireReachable(GatunStream stream, String operation, String name, MemorySegment memory) {
        GatunContext context = stream.context();
        if (memory.byteSize() == 0 || context.kind() == DeviceKind.CPU && !used) {
            return;
        }
        Range range = find(memory);
        if (range == null) {
            if (context.kind() != DeviceKind.CPU) {
                query(context, operation, name, memory);
            }
        } else if (!range.pinned() && range.context() != context) {
            String owner = range.context().name();
            String whose = owner.equals(context.name()) ? "another context of device " : "device ";
            throw GatunException.invalid(operation, name + " is memory of " + whose + owner + ", the stream is of device " + context.name());
        }
    }

    /** As {@link #requireReachable} for a copy, one end of which may be the host's or another CUDA device's. */
    static void requireCopyable(GatunStream stream, String operation, String name, MemorySegment memory) {
        Range range = memory.byteSize() == 0 ? null : find(memory);
        if (range != null && !range.pinned() && range.context().kind() != stream.context().kind()) {
            throw GatunException.invalid(operation, name + " is memory of device " + range.context().name() + ", the stream is of device "
                    + stream.context().name());
        }
    }

    private static @Nullable Range find(MemorySegment memory) {
        if (RANGES.isEmpty()) {
            return null;
        }
        Map.Entry<Long, Range> entry = RANGES.floorEntry(memory.address());
        return entry != null && memory.address() < entry.getValue().end() ? entry.getValue() : null;
    }

    /** Memory that came from elsewhere: another library's on the same device is as good, and only the driver knows it. */
    private static void query(GatunContext context, String operation, String name, MemorySegment memory) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment kind = arena.allocate(ValueLayout.JAVA_INT);
            MemorySegment device = arena.allocate(ValueLayout.JAVA_INT);
            MemorySegment error = Call.newError(arena);
            Call.check(QUERY.invoke(context.library().address(QUERY), context.handle(), memory, kind, device, error), error);
            int found = kind.get(ValueLayout.JAVA_INT, 0);
            if (found == HOST) {
                throw GatunException.invalid(operation, name + " is no device memory (the host's, or freed already), the stream is of device " + context.name());
            }
            if (found == DEVICE && device.get(ValueLayout.JAVA_INT, 0) != context.ordinal()) {
                throw GatunException.invalid(operation, name + " is memory of device " + context.kind() + ":"
                        + device.get(ValueLayout.JAVA_INT, 0) + ", the stream is of device " + context.name());
            }
        }
    }
}
