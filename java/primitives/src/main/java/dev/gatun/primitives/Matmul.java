// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Matrix product on the CPU with what stands before and behind it in a network: c = E(P(a)·Q(b)), f32. P and Q work while the operands are
 * packed, E before a block of c is written, so neither a normalised nor an activated matrix is stored. On a CUDA device it is UNSUPPORTED:
 * {@link Gemm} and other operations compose it there.
 *
 * <pre>{@code
 * Matmul hidden = Matmul.of(x, weightsTransposed, h).layerNormA(1e-6f, gamma, beta, mean, rstd).bias(b);
 * hidden.run(stream, arena.allocate(hidden.workspace(stream), 64));
 * }</pre>
 *
 * <p>In order: v = P(a)·Q(b) + bias; v is kept in {@code hidden}; activation; v·factorM·factorN + residual; c = v or, accumulating, c + v.
 * What is not asked for is left out. The bits do not depend on the number of threads. Nothing that is written may overlap anything else, but
 * for c and the residual, which may be one. Optional operands may be {@link Operand#NONE}.
 */
public final class Matmul {
    private static final Downcall CALL = Downcall.withWorkspace("gatun_matmul", 15);
    private static final Downcall WORKSPACE = Downcall.streamWorkspaceQuery("gatun_matmul_workspace");
    private static final Struct DESC = Struct.descriptor("gatun_matmul_desc");
    private static final long A_PROLOGUE = DESC.i32("a_prologue");
    private static final long B_PROLOGUE = DESC.i32("b_prologue");
    private static final long ACTIVATION = DESC.i32("activation");
    private static final long ACCUMULATE = DESC.i32("accumulate");
    private static final long EPSILON = DESC.f32("epsilon");
    private static final String[] NAMES = {
        "a", "b", "c", "mean", "rstd", "gamma", "beta", "scale_m", "scale_k", "bias", "hidden", "factor_m", "factor_n", "residual", "a_sums"
    };
    private static final long[] OFFSETS = new long[NAMES.length];

    static {
        for (int i = 0; i < NAMES.length; i++) {
            OFFSETS[i] = DESC.layout(NAMES[i]);
        }
    }

    private static final int AS_IS = 0;
    private static final int LAYER_NORM = 1;
    private static final int GELU = 2;
    private static final int TO_GELU = 1;
    private static final int GELU_GRADIENT = 2;

    private static final int C = 2;
    private static final int MEAN = 3;
    private static final int RSTD = 4;
    private static final int GAMMA = 5;
    private static final int BETA = 6;
    private static final int SCALE_M = 7;
    private static final int SCALE_K = 8;
    private static final int BIAS = 9;
    private static final int HIDDEN = 10;
    private static final int FACTOR_M = 11;
    private static final int FACTOR_N = 12;
    private static final int RESIDUAL = 13;
    private static final int A_SUMS = 14;

    private final Operand[] operands = new Operand[NAMES.length];
    private int prologueOfA = AS_IS;
    private int prologueOfB = AS_IS;
    private int activation;
    private int accumulate;
    private float epsilon;

    private Matmul(Operand a, Operand b, Operand c) {
        Arrays.fill(operands, Operand.NONE);
        operands[0] = a;
        operands[1] = b;
        operands[C] = c;
    }

    /**
     * The plain product, to which the other methods add.
     *
     * @param a f32 (M, K), rows or columns contiguous (a transposed view)
     * @param b f32 (K, N), likewise
     * @param c f32 (M, N), rows contiguous, written
     */
    public static Matmul of(Operand a, Operand b, Operand c) {
        return new Matmul(a, b, c);
    }

    /**
     * Each row of a is normalised over K on its way in, as {@link LayerNorm} does; a has contiguous rows.
     *
     * @param epsilon added to the variance, positive
     * @param gamma f32 (K), or NONE: 1
     * @param beta f32 (K), or NONE: 0
     * @param mean f32 (M), written
     * @param rstd f32 (M), written: 1 / sqrt(biased variance + epsilon)
     */
    public Matmul layerNormA(float epsilon, Operand gamma, Operand beta, Operand mean, Operand rstd) {
        prologueOfA = LAYER_NORM;
        this.epsilon = epsilon;
        return statistics(gamma, beta, mean, rstd);
    }

    /**
     * Row k of b is normalised on its way in with statistics that a forward pass kept; b has contiguous rows.
     *
     * @param gamma f32 (N), or NONE: 1
     * @param beta f32 (N), or NONE: 0
     * @param mean f32 (K), read
     * @param rstd f32 (K), read
     */
    public Matmul layerNormB(Operand gamma, Operand beta, Operand mean, Operand rstd) {
        prologueOfB = LAYER_NORM;
        return statistics(gamma, beta, mean, rstd);
    }

    private Matmul statistics(Operand gamma, Operand beta, Operand mean, Operand rstd) {
        operands[GAMMA] = gamma;
        operands[BETA] = beta;
        operands[MEAN] = mean;
        operands[RSTD] = rstd;
        return this;
    }

    /** The elements of a become x·Φ(x) on their way in. */
    public Matmul geluA() {
        prologueOfA = GELU;
        return this;
    }

    /** The elements of b become x·Φ(x) on their way in. */
    public Matmul geluB() {
        prologueOfB = GELU;
        return this;
    }

    /**
     * a(m, k) is multiplied by scaleM[m / (M / S)]·scaleK[k / (K / S)], each vector with an S of its own that divides its extent. Only where a
     * has no other prologue.
     *
     * @param scaleM f32 (S), or NONE
     * @param scaleK f32 (S), or NONE
     */
    public Matmul scaleA(Operand scaleM, Operand scaleK) {
        operands[SCALE_M] = scaleM;
        operands[SCALE_K] = scaleK;
        return this;
    }

    /** @param bias f32 (N), added to each row */
    public Matmul bias(Operand bias) {
        operands[BIAS] = bias;
        return this;
    }

    /**
     * The result becomes x·Φ(x).
     *
     * @param hidden f32 (M, N), rows contiguous, written with x; or NONE
     */
    public Matmul gelu(Operand hidden) {
        activation = TO_GELU;
        operands[HIDDEN] = hidden;
        return this;
    }

    /**
     * The result is multiplied by the derivative of x·Φ(x).
     *
     * @param hidden f32 (M, N), rows contiguous: the x
     */
    public Matmul geluGradient(Operand hidden) {
        activation = GELU_GRADIENT;
        operands[HIDDEN] = hidden;
        return this;
    }

    /**
     * Row m of the result is multiplied by factorM[m / (M / S)], column n by factorN[n].
     *
     * @param factorM f32 (S), S divides M; or NONE
     * @param factorN f32 (N); or NONE
     */
    public Matmul factors(Operand factorM, Operand factorN) {
        operands[FACTOR_M] = factorM;
        operands[FACTOR_N] = factorN;
        return this;
    }

    /** @param residual f32 (M, N), rows contiguous, added to the result; may be c, but not when accumulating */
    public Matmul residual(Operand residual) {
        operands[RESIDUAL] = residual;
        return this;
    }

    /** The result is added to c, and the sums of a to where they go. */
    public Matmul accumulate() {
        accumulate = 1;
        return this;
    }

    /**
     * The sums over K of what a is multiplied with, its scales included: for a = dyᵀ the gradient of the bias beside that of the weights.
     *
     * @param sums f32 (M), written
     */
    public Matmul sumsOfA(Operand sums) {
        operands[A_SUMS] = sums;
        return this;
    }

    /** Bytes of workspace for {@link #run} on this stream; they grow with its number of threads. */
    public long workspace(GatunStream stream) {
        try (Call call = Call.of(stream, WORKSPACE, DESC)) {
            describe(call);
            for (int i = 0; i < operands.length; i++) {
                call.layout(OFFSETS[i], operands[i]);
            }
            return call.queryWorkspace();
        }
    }

    /**
     * Computes c.
     *
     * @param workspace of {@link #workspace} bytes, aligned to 64
     */
    public void run(GatunStream stream, MemorySegment workspace) {
        try (Call call = Call.of(stream, CALL, DESC)) {
            describe(call);
            for (int i = 0; i < operands.length; i++) {
                if (written(i)) {
                    call.output(OFFSETS[i], NAMES[i], operands[i]);
                } else {
                    call.input(OFFSETS[i], NAMES[i], operands[i]);
                }
            }
            call.runWithWorkspace(workspace);
        }
    }

    private boolean written(int i) {
        return switch (i) {
            case C, A_SUMS -> true;
            case MEAN, RSTD -> prologueOfA == LAYER_NORM;
            case HIDDEN -> activation == TO_GELU;
            default -> false;
        };
    }

    private void describe(Call call) {
        call.set(A_PROLOGUE, prologueOfA);
        call.set(B_PROLOGUE, prologueOfB);
        call.set(ACTIVATION, activation);
        call.set(ACCUMULATE, accumulate);
        call.set(EPSILON, epsilon);
    }
}
