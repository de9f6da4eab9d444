// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;
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
    private final Map<DType, Map<Parameter, Tensor>> watched = new EnumMap<>(DType.class);
    /** Of this pass and those beside it: copies of weights that it has cast. */
    private final Set<ComputeCopy> cast;
    private final Map<Long, Tensor> samples = new HashMap<>();
    private long[] ids = new long[0];
    private int draws;
    private DType precision = DType.F32;

    private Pass(Scope scope, @Nullable Tape tape, @Nullable RandomKey key, boolean training) {
        this(scope, tape, key, training, Collections.newSetFromMap(new IdentityHashMap<>()));
    }

    private Pass(Scope scope, @Nullable Tape tape, @Nullable RandomKey key, boolean training, Set<ComputeCopy> cast) {
        this.cast = cast;
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
     * that sees the batch as this pass's network does, in the same precision.
     */
    public Pass withoutGradient() {
        return new Pass(scope, null, nextKey(), training, cast).withSamples(ids).withPrecision(precision);
    }

    /**
     * Says what the networks behind a border of {@link MixedPrecision} compute in; without, f32.
     *
     * @param type f32, bf16 or f16
     * @return this pass
     * @throws TensorException if the device has no arithmetic in the type
     */
    public Pass withPrecision(DType type) {
        if (!scope.device().stores(type)) {
            throw new TensorException("the device " + scope.device().name() + " has no arithmetic in " + type + "; cuda and emulated have");
        }
        precision = type;
        return this;
    }

    /** What the networks behind a border of {@link MixedPrecision} compute in. */
    public DType precision() {
        return precision;
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
     * @param ids one a sample, below 2^40; read again before every launch of a recorded step
     * @return this pass
     */
    public Pass withSamples(long[] ids) {
        this.ids = ids;
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
            boolean known = ids.length > 0 && count % ids.length == 0;
            return scope.fromHost(DType.I64, target -> {
                long[] all = new long[Math.toIntExact(count)];
                Arrays.setAll(all, row -> known ? ids[row % ids.length] : row);
                // a sampler may put a sample into one batch twice, too
                target.copyFrom(MemorySegment.ofArray(RandomKey.apart(all)));
            }, count);
        });
    }

    /** A state's values as a tensor of this pass: not tracked; what is computed from them lives in this pass's scope. */
    public Tensor use(State s) {
        return scope.attach(s.value());
    }

    /** A parameter as an f32 tensor of this pass: tracked if the pass records, with its gradient going to the flat buffer. */
    public Tensor use(Parameter p) {
        return use(p, DType.F32);
    }

    /**
     * A parameter in the dtype of the activations that it meets: weights of products and convolutions, what is added to tokens. As
     * {@link #use(Parameter)}; its gradient goes to the f32 flat buffer whatever the dtype.
     */
    public Tensor use(Parameter p, DType type) {
        return watched.computeIfAbsent(type, t -> new IdentityHashMap<>()).computeIfAbsent(p, q -> {
            Tensor value = type == DType.F32 ? q.value() : computed(q, q.copy(type));
            return tape == null ? scope.attach(value) : tape.watch(value, q.gradient());
        });
    }

    // A pass casts anew even where the host knows of no write: a recorded step repeats what it did, which must include the cast, and writes
    // without telling.
    private Tensor computed(Parameter p, ComputeCopy copy) {
        if (cast.add(copy) || copy.stale(p)) {
            copy.cast();
        }
        return copy.of(p);
    }
}
