// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/** Codes of samples over prototypes by Sinkhorn and Knopp's iteration (SwAV, section 3.1). Codes are targets: there is no gradient. */
public final class Sinkhorn {
    private Sinkhorn() {}

    /** The codes of all samples. */
    public static Tensor codes(Tensor scores, float epsilon, int iterations) {
        return codes(scores, scores.size(0), epsilon, iterations);
    }

    /**
     * The codes of the last {@code rows} samples (a queue comes first).
     *
     * @param scores (B, K): samples by prototypes; any finite values
     * @param epsilon positive; .05 is usual, smaller gives harder codes
     * @param iterations at least 1; 3 is usual
     * @return (rows, K), each row summing to 1; never tracked
     */
    public static Tensor codes(Tensor scores, long rows, float epsilon, int iterations) {
        if (scores.rank() != 2 || rows < 0 || rows > scores.size(0)) {
            throw new TensorException("sinkhorn: codes of the last " + rows + " rows of " + scores.describe());
        }
        return Function.apply(new Codes(rows, epsilon, iterations), scores.detach());
    }

    private record Codes(long rows, float epsilon, int iterations) implements Function {
        @Override
        public String name() {
            return "sinkhorn";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor scores = c.rows(in[0]);
            Tensor codes = c.empty(rows, scores.size(1));
            try (Scope work = c.scope().open()) {
                long bytes = dev.gatun.primitives.Sinkhorn.workspace(c.stream(), scores.operand());
                dev.gatun.primitives.Sinkhorn.codes(
                        c.stream(),
                        scores.operand(),
                        codes.operand(),
                        epsilon,
                        iterations,
                        work.workspace(bytes));
            }
            return codes;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            throw new IllegalStateException("codes have no gradient");
        }
    }
}
