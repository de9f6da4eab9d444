// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One way through a network: whether it trains, where results live, and the key of its random decisions. A step that sends
 * several batches through the same network on one tape uses one pass for all of them, so that every drop mask differs.
 */
public final class Pass {
    private final Scope scope;
    private final @Nullable Tape tape;
    private final @Nullable RandomKey key;
    private final boolean training;
    private final Map<Parameter, Tensor> watched = new IdentityHashMap<>();
    private final Map<Long, Tensor> samples = new HashMap<>();
    private long[] ids = new long[0];
    private int draws;

    private Pass(Scope scope, @Nullable Tape tape, @Nullable RandomKey key, boolean training) {
        this.scope = scope;
        this.tape = tape;
        this.key = key;
        this.training = training;
    }

    /** Training: batch statistics, random decisions under {@code key}, gradients into the parameters' buffers. */
    public static Pass training(Tape tape, RandomKey key) {
        return new Pass(tape.scope(), tape, key, true);
    }

    /** Training behaviour without gradients: for target networks that use batch statistics. */
    public static Pass trainingWithoutGradient(Scope scope, RandomKey key) {
        return new Pass(scope, null, key, true);
    }

    /**
     * A pass beside this one for the same samples, without gradients and with random decisions of its own: for a target network
     * that sees the batch as this pass's network does.
     */
    public Pass withoutGradient() {
        return new Pass(scope, null, nextKey(), training).withSamples(ids);
    }

    /** Running statistics, nothing random, no gradients. */
    public static Pass inference(Scope scope) {
        return new Pass(scope, null, null, false);
    }

    /** Running statistics, nothing random, with gradients into the parameters' buffers: for fine-tuning and saliency. */
    public static Pass evaluation(Tape tape) {
        return new Pass(tape.scope(), tape, null, false);
    }

    /** Whether layers behave as in training. */
    public boolean training() {
        return training;
    }

    /** Whether results of parameters are recorded. */
    public boolean recording() {
        return tape != null;
    }

    /** The tape of a recording pass. */
    public Tape tape() {
        if (tape == null) {
            throw new TensorException("this pass has no tape: it was made without gradients");
        }
        return tape;
    }

    /** Where results live. */
    public Scope scope() {
        return scope;
    }

    /** The key of the pass. */
    public RandomKey key() {
        if (key == null) {
            throw new TensorException("an inference pass makes no random decisions");
        }
        return key;
    }

    /** A key for the next random decision; a function of the pass's key and of how many were made before it in this pass. */
    public RandomKey nextKey() {
        return key().child(draws++);
    }

    /**
     * Says which samples the batch holds, so that random decisions are functions of a sample's id and not of its place in the
     * batch.
     *
     * @param ids one a sample, below 2^40
     * @return this pass
     */
    public Pass withSamples(long[] ids) {
        this.ids = ids.clone();
        samples.clear();
        return this;
    }

    /**
     * The ids under which the rows of a tensor draw: those of {@link #withSamples}, over again where several views of the batch, or
     * several copies of it, lie one after the other. Rows of one sample draw apart: the first has the sample's id, the k-th has k − 1
     * above bit 40. Rows that are no multiple of the samples, or a pass that was told no samples, draw by row.
     *
     * @param rows of the tensor
     * @return i64 (rows), in this pass's scope
     */
    public Tensor samples(long rows) {
        return samples.computeIfAbsent(rows, count -> {
            long[] all = new long[Math.toIntExact(count)];
            boolean known = ids.length > 0 && count % ids.length == 0;
            Arrays.setAll(all, row -> known ? ids[row % ids.length] : row);
            // a sampler may put a sample into one batch twice, too
            return scope.ofLongs(RandomKey.apart(all));
        });
    }

    /** A state's values as a tensor of this pass: not tracked; what is computed from them lives in this pass's scope. */
    public Tensor use(State s) {
        return scope.attach(s.value());
    }

    /** A parameter as a tensor of this pass: tracked if the pass records, with its gradient going to the flat buffer. */
    public Tensor use(Parameter p) {
        return watched.computeIfAbsent(
                p, q -> tape == null ? scope.attach(q.value()) : tape.watch(q.value(), q.gradient()));
    }
}
