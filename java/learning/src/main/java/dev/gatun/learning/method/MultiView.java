// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.data.View;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.GatherRows;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.State;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.LongStream;

/** All views of a batch through one network. */
public final class MultiView {
    private MultiView() {}

    /**
     * Encodes the views: consecutive views of one size are one batch, with its own batch statistics. An encoder that can take batches of
     * several sizes together ({@link Layer#forwardAll}) gets all of them at once.
     *
     * @param encoder from (B, H, W, C) to (B, D)
     * @param batch V views of B samples
     * @param pass the step's pass
     * @return (V·B, D), view-major: row v·B + b is view v of sample b
     */
    public static Tensor encode(Layer encoder, Batch batch, Pass pass) {
        List<View> views = batch.views();
        List<Tensor> batches = new ArrayList<>();
        for (int from = 0, to; from < views.size(); from = to) {
            to = from + 1;
            while (to < views.size() && views.get(to).size() == views.get(from).size()) {
                to++;
            }
            batches.add(concat(views.subList(from, to).stream().map(View::images).toList()));
        }
        return encoder.forwardAll(pass, batches);
    }

    private static Tensor concat(List<Tensor> parts) {
        Tensor[] all = parts.toArray(Tensor[]::new);
        // crops are made one after the other in memory
        return Tensor.adjacent(all).orElseGet(() -> Tensor.concat(0, all));
    }

    /**
     * Numbers of the batch's samples, such as labels, once for each view.
     *
     * @param numbers gives one a sample of the batch; asked again before every launch of a recorded step
     * @param batch V views of B samples
     * @param scope where the result lives
     * @return i32 (V·B), view-major
     */
    public static Tensor repeat(Supplier<int[]> numbers, Batch batch, Scope scope) {
        int views = batch.views().size();
        return scope.fromHost(DType.I32, target -> {
            int[] once = numbers.get();
            for (int v = 0; v < views; v++) {
                MemorySegment.copy(once, 0, target, ValueLayout.JAVA_INT, (long) v * once.length * Integer.BYTES, once.length);
            }
        }, (long) views * batch.size());
    }

    /**
     * What is known of the batch's samples, such as their clusters, once for each view.
     *
     * @param known i32 (N), one for every training sample
     * @param batch V views of B samples
     * @param scope where the result lives
     * @return i32 (V·B), view-major
     */
    public static Tensor gather(State known, Batch batch, Scope scope) {
        return GatherRows.apply(scope.attach(known.value()), repeat(() -> indices(batch), batch, scope));
    }

    /** The batch's samples as rows of what is known of all training samples. */
    static int[] indices(Batch batch) {
        return LongStream.of(batch.ids()).mapToInt(Math::toIntExact).toArray();
    }
}
