// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.Step;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.GatherRows;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.State;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * The last embeddings of one assigned view, in a ring of batches: small batches are clustered together with them. The host counts along,
 * so that no step reads the count back.
 */
final class SwavQueue {
    private final @Nullable State ring;
    private final @Nullable State count;
    private final int batch;
    private long enqueued;
    private boolean full;

    /**
     * Declares the queue's state.
     *
     * @param parameters where
     * @param capacity rows, a multiple of the batch; 0 = a queue that is never full and holds nothing
     * @param batch rows that are put in together
     * @param width of an embedding
     */
    SwavQueue(Parameters parameters, int capacity, int batch, int width) {
        this.batch = batch;
        ring = capacity == 0 ? null : parameters.state("embeddings", 0f, capacity, width);
        count = capacity == 0 ? null : parameters.state("count", DType.I64, 1);
    }

    /** Takes the count from a restored state. */
    void restored() {
        enqueued = count == null ? 0 : count.value().toLongArray()[0];
    }

    /** Decides whether a step uses the queue: only when every row holds an embedding. */
    void beforeStep(Step step) {
        full = ring != null && step.decide(() -> enqueued >= ring.shape()[0]);
    }

    /** Whether this step uses the queue. */
    boolean full() {
        return full;
    }

    /** The embeddings; their order means nothing. */
    Tensor rows(Scope scope) {
        return scope.attach(ring.value());
    }

    /** Puts a batch's embeddings in place of the oldest ones. */
    void enqueue(Tensor z) {
        if (ring == null) {
            return;
        }
        int places = (int) ring.shape()[0] / batch;
        // asked again before every launch of a recorded step: it counts along
        Tensor place = z.scope().fromHost(DType.I32, target -> {
            target.set(ValueLayout.JAVA_INT, 0, (int) (enqueued / batch % places));
            enqueued += batch;
        }, 1);
        GatherRows.put(rows(z.scope()).reshape(places, -1), z.reshape(1, -1), place);
        count.value().copyFrom(z.scope().fromHost(DType.I64, target -> target.set(ValueLayout.JAVA_LONG, 0, enqueued), 1));
    }
}
