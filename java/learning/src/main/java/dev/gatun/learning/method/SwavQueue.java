// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.State;
import org.jspecify.annotations.Nullable;

/** The last embeddings of one assigned view, in a ring: small batches are clustered together with them. */
final class SwavQueue {
    private final @Nullable State rows;
    private final @Nullable State count;

    /**
     * Declares the queue's state.
     *
     * @param parameters where
     * @param capacity rows, a multiple of the batch; 0 = a queue that is never full and holds nothing
     * @param width of an embedding
     */
    SwavQueue(Parameters parameters, int capacity, int width) {
        rows = capacity == 0 ? null : parameters.state("embeddings", 0f, capacity, width);
        count = capacity == 0 ? null : parameters.state("count", DType.I64, 1);
    }

    /** Whether every row holds an embedding: only then are they used. */
    boolean full() {
        return rows != null && enqueued() >= rows.shape()[0];
    }

    /** The embeddings; their order means nothing. */
    Tensor rows(Scope scope) {
        return scope.attach(rows.value());
    }

    /** Puts a batch's embeddings in place of the oldest ones. */
    void enqueue(Tensor z) {
        if (rows != null) {
            long before = enqueued();
            long at = before % rows.shape()[0];
            rows.value().slice(0, at, at + z.size(0)).copyFrom(z);
            count.value().copyFrom(z.scope().ofLongs(new long[] {before + z.size(0)}));
        }
    }

    private long enqueued() {
        return count.value().toLongArray()[0];
    }
}
