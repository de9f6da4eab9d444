// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.NativeLibrary;
import dev.gatun.primitives.Operand;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import tools.jackson.databind.json.JsonMapper;

/** A device and memory for one benchmark. */
@State(Scope.Thread)
public class DeviceState {
    @Param("2")
    public int threads;

    public GatunContext context;
    public GatunStream stream;
    private Arena arena;

    @Setup(Level.Trial)
    public void open() {
        arena = Arena.ofConfined();
        context = GatunContext.cpu(threads);
        stream = context.stream();
    }

    @TearDown(Level.Trial)
    public void close() {
        stream.close();
        context.close();
        arena.close();
    }

    public Operand empty(DType dtype, long... shape) {
        Layout layout = Layout.of(dtype, shape);
        return new Operand(arena.allocate(Math.max(layout.spanBytes(), 1), 64), layout);
    }

    /** The instruction set in use. */
    String isa() {
        return JsonMapper.shared().readTree(NativeLibrary.cpu().info()).path("isa").asString("");
    }

    /** Workspace, at least one byte. */
    public MemorySegment bytes(long count) {
        return empty(DType.U8, Math.max(count, 1)).segment();
    }

    /** Standard normal values: zeros would run faster than data. */
    public Operand normal(long seed, long... shape) {
        Operand operand = empty(DType.F32, shape);
        SplittableRandom random = new SplittableRandom(seed);
        for (long i = 0; i < operand.layout().elements(); i++) {
            operand.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
        }
        return operand;
    }
}
