// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import java.util.Optional;

/**
 * How a product of row-major matrices is said to a library that knows columns: c, read by columns, is cᵀ = bᵀ·aᵀ, so the library's first operand
 * is our b. Plans that are equal take the same algorithm, so a plan is the key under which one is kept.
 *
 * @param first b as the library sees it
 * @param second a as the library sees it
 * @param result cᵀ: N rows, M columns; in place of both the library's C and its D
 * @param input dtype of a and b
 * @param output dtype of c, of a bias and of its gradient
 * @param epilogue what is done in the same call. The bias has a value for each of the library's rows, its gradient one for each of its columns
 */
record CublasPlan(Matrix first, Matrix second, Matrix result, DType input, DType output, Optional<Gemm.Epilogue> epilogue) {
    /** Vector loads and the tensor memory accelerator need this; more alignment chooses nothing else, so it is no part of the key. */
    private static final int MOST_ALIGNMENT = 16;

    /**
     * A matrix by columns.
     *
     * @param rows as stored, before a transposition
     * @param leading elements from one column to the next
     * @param transposed whether the product takes its transpose
     * @param alignment bytes that divide the address, at most 16
     */
    record Matrix(long rows, long columns, long leading, boolean transposed, int alignment) {}

    /**
     * The plan of c = a·b.
     *
     * @throws GatunException INVALID_ARGUMENT if the operands do not fit each other or their memory
     */
    static CublasPlan of(Operand a, Operand b, Operand c, Optional<Gemm.Epilogue> epilogue) {
        Layout x = a.layout();
        Layout y = b.layout();
        Layout z = c.layout();
        boolean matrices = x.rank() == 2 && y.rank() == 2 && z.rank() == 2;
        if (!matrices || x.size(1) != y.size(0) || z.size(0) != x.size(0) || z.size(1) != y.size(1)) {
            throw invalid(a, b, c, "the shapes do not fit");
        }
        boolean half = x.dtype() == DType.BF16 || x.dtype() == DType.F16;
        if (!half && x.dtype() != DType.F32 || y.dtype() != x.dtype() || z.dtype() != x.dtype() && z.dtype() != DType.F32) {
            throw invalid(a, b, c, "a and b have one dtype, f32, bf16 or f16, and c has that or f32");
        }
        for (Operand operand : new Operand[] {a, b, c}) {
            checkMemory(operand, a, b, c);
        }
        if (c.segment().isReadOnly()) {
            throw invalid(a, b, c, "c is read-only");
        }
        Matrix result = matrix(c, a, b, c);
        if (result.transposed) {
            throw invalid(a, b, c, "the rows of c are not contiguous");
        }
        return new CublasPlan(matrix(b, a, b, c), matrix(a, a, b, c), result, x.dtype(), z.dtype(), epilogue);
    }

    private static void checkMemory(Operand operand, Operand a, Operand b, Operand c) {
        if (!operand.segment().isNative() || !operand.segment().scope().isAlive()) {
            throw invalid(a, b, c, "memory must be native and alive");
        }
        if (operand.segment().byteSize() < operand.layout().spanBytes()) {
            throw invalid(a, b, c, operand.layout() + " does not fit into its " + operand.segment().byteSize() + " bytes");
        }
    }

    /** Rows contiguous if they can be, which the library reads as the transpose's columns; else columns, which it has to transpose. */
    private static Matrix matrix(Operand operand, Operand a, Operand b, Operand c) {
        Layout layout = operand.layout();
        long rows = layout.size(0);
        long columns = layout.size(1);
        int alignment = (int) Math.min(MOST_ALIGNMENT, Long.lowestOneBit(operand.segment().address() | MOST_ALIGNMENT));
        if (rows == 0 || columns == 0) {
            return new Matrix(columns, rows, Math.max(columns, 1), false, alignment);
        }
        long down = rows > 1 ? layout.stride(0) : columns;
        if ((columns == 1 || layout.stride(1) == 1) && down >= columns) {
            return new Matrix(columns, rows, down, false, alignment);
        }
        long across = columns > 1 ? layout.stride(1) : rows;
        if ((rows == 1 || layout.stride(0) == 1) && across >= rows) {
            return new Matrix(rows, columns, across, true, alignment);
        }
        throw invalid(a, b, c, layout + " has neither contiguous rows nor contiguous columns");
    }

    private static GatunException invalid(Operand a, Operand b, Operand c, String why) {
        return new GatunException(
                GatunException.Status.INVALID_ARGUMENT,
                "gemm",
                why + ": a " + a.layout() + ", b " + b.layout() + ", c " + c.layout());
    }

    /** Rows of c. */
    long m() {
        return result.columns;
    }

    /** Columns of c. */
    long n() {
        return result.rows;
    }

    /** Products in a sum. */
    long k() {
        return second.transposed ? second.columns : second.rows;
    }

    /** Whether there is nothing to multiply. A library refuses what is empty. */
    boolean empty() {
        return m() == 0 || n() == 0 || k() == 0;
    }

    /** The product as its caller sees it, for messages. */
    String describe() {
        return input + "(" + m() + ", " + k() + ")" + (second.transposed ? " by columns" : "") + " by " + input + "(" + k() + ", " + n() + ")"
                + (first.transposed ? " by columns" : "") + " into " + output + "(" + m() + ", " + n() + ")"
                + epilogue.map(e -> " with epilogue " + e).orElse("");
    }
}
