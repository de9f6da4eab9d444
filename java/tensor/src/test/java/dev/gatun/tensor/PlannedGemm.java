// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Does what a {@link CublasPlan} says, as the manual of a library by columns describes it, on f32 in the host's memory. It offers both epilogues,
 * so what is above it runs on the CPU as it does over cuBLASLt.
 */
final class PlannedGemm implements Gemm {
    /** Every plan that was carried out. */
    final List<CublasPlan> plans = new ArrayList<>();

    @Override
    public String name() {
        return "plans";
    }

    @Override
    public boolean offers(Epilogue epilogue, Operand a, Operand b, float beta, Operand c) {
        return !CublasPlan.of(a, b, c, Optional.of(epilogue)).empty();
    }

    @Override
    public void multiply(GatunStream stream, float alpha, Operand a, Operand b, float beta, Operand c) {
        run(CublasPlan.of(a, b, c, Optional.empty()), alpha, b.segment(), a.segment(), beta, c.segment(), MemorySegment.NULL);
    }

    @Override
    public void multiply(GatunStream stream, Operand a, Operand b, float beta, Operand c, Epilogue epilogue, Operand v) {
        run(CublasPlan.of(a, b, c, Optional.of(epilogue)), 1, b.segment(), a.segment(), beta, c.segment(), v.segment());
    }

    private static float at(MemorySegment memory, long index) {
        return memory.get(ValueLayout.JAVA_FLOAT, index * Float.BYTES);
    }

    private static void put(MemorySegment memory, long index, double value) {
        memory.set(ValueLayout.JAVA_FLOAT, index * Float.BYTES, (float) value);
    }

    private static float element(CublasPlan.Matrix matrix, MemorySegment memory, long row, long column) {
        return matrix.transposed() ? at(memory, column + row * matrix.leading()) : at(memory, row + column * matrix.leading());
    }

    /** D = alpha·A·B + beta·D, all by columns, where A is {@code first}. */
    private void run(CublasPlan plan, float alpha, MemorySegment a, MemorySegment b, float beta, MemorySegment d, MemorySegment vector) {
        if (plan.input() != DType.F32 || plan.output() != DType.F32) {
            throw new IllegalArgumentException(plan.describe());
        }
        plans.add(plan);
        long rows = plan.result().rows();
        long columns = plan.result().columns();
        long depth = plan.first().transposed() ? plan.first().rows() : plan.first().columns();
        for (long j = 0; j < columns; j++) {
            double gradient = 0;
            for (long l = 0; l < depth; l++) {
                gradient += element(plan.second(), b, l, j);
            }
            if (plan.epilogue().equals(Optional.of(Epilogue.BIAS_GRADIENT))) {
                put(vector, j, gradient);
            }
            for (long i = 0; i < rows; i++) {
                double sum = 0;
                for (long l = 0; l < depth; l++) {
                    sum += (double) element(plan.first(), a, i, l) * element(plan.second(), b, l, j);
                }
                long index = i + j * plan.result().leading();
                double onto = beta == 0 ? 0 : beta * at(d, index);
                double bias = plan.epilogue().equals(Optional.of(Epilogue.BIAS)) ? at(vector, i) : 0;
                put(d, index, alpha * sum + onto + bias);
            }
        }
    }
}
