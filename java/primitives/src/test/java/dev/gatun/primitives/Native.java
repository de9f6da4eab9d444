// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** A device and memory for one test. */
final class Native implements AutoCloseable {
    final Arena arena = Arena.ofConfined();
    final GatunContext context;
    final GatunStream stream;

    Native() {
        this(2);
    }

    Native(int threads) {
        context = GatunContext.cpu(threads);
        stream = context.stream();
    }

    Operand empty(DType dtype, long... shape) {
        Layout layout = Layout.of(dtype, shape);
        return new Operand(arena.allocate(Math.max(layout.spanBytes(), 1), 64), layout);
    }

    Operand of(float[] values, long... shape) {
        Operand operand = empty(DType.F32, shape);
        MemorySegment.copy(values, 0, operand.segment(), ValueLayout.JAVA_FLOAT, 0, values.length);
        return operand;
    }

    Operand of(int[] values, long... shape) {
        Operand operand = empty(DType.I32, shape);
        MemorySegment.copy(values, 0, operand.segment(), ValueLayout.JAVA_INT, 0, values.length);
        return operand;
    }

    Operand of(long[] values, long... shape) {
        Operand operand = empty(DType.I64, shape);
        MemorySegment.copy(values, 0, operand.segment(), ValueLayout.JAVA_LONG, 0, values.length);
        return operand;
    }

    static float[] floats(Operand operand) {
        return operand.segment().asSlice(0, operand.layout().spanBytes()).toArray(ValueLayout.JAVA_FLOAT);
    }

    static int[] ints(Operand operand) {
        return operand.segment().asSlice(0, operand.layout().spanBytes()).toArray(ValueLayout.JAVA_INT);
    }

    /** Standard normal values, the same for the same seed. */
    static float[] normal(int count, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    @Override
    public void close() {
        stream.close();
        context.close();
        arena.close();
    }
}
