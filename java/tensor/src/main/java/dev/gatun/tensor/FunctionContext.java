// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunStream;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/** What a {@link Function} knows about one application of it: the scope for results, saved tensors, which gradients are wanted. */
public final class FunctionContext {
    private final Function function;
    private final boolean[] tracked;
    private final long[][] shapes;
    private final DType[] types;
    private final boolean[] leaves;
    private Tensor[] saved = new Tensor[0];
    private int[] versions = new int[0];
    /** What {@link #saved} computed again in this call of backward. */
    private @Nullable Block[] recomputed = new Block[0];

    private Scope scope;
    // during a backward sweep
    private boolean[] wanted;
    private @Nullable Tensor[] accumulators = new Tensor[0];
    private boolean graph;
    private boolean ownsGradient;

    FunctionContext(Function function, Scope scope, boolean[] tracked, boolean[] leaves, Tensor[] inputs) {
        this.function = function;
        this.scope = scope;
        this.tracked = tracked;
        this.leaves = leaves;
        this.shapes = new long[inputs.length][];
        this.types = new DType[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            shapes[i] = inputs[i].shapeArray();
            types[i] = inputs[i].dtype();
        }
        this.wanted = tracked;
    }

    /** Where new tensors belong: in forward the youngest scope of the inputs, in backward that of the sweep. */
    public Scope scope() {
        return scope;
    }

    /** The device of the inputs. */
    public Device device() {
        return scope.device();
    }

    /** The stream for calls of primitives. */
    public GatunStream stream() {
        return scope.device().stream();
    }

    /** An f32 tensor with undefined contents in {@link #scope}. */
    public Tensor empty(long... shape) {
        return scope.empty(DType.F32, shape);
    }

    /** A tensor with undefined contents in {@link #scope}. */
    public Tensor empty(DType type, long... shape) {
        return scope.empty(type, shape);
    }

    /** A contiguous tensor of another's dtype and shape with undefined contents in {@link #scope}. */
    public Tensor like(Tensor t) {
        return scope.empty(t.dtype(), t.shapeArray());
    }

    /**
     * A tensor as primitives on rows take it: itself where its last dimension is contiguous and its rows are equally spaced, else a
     * contiguous copy.
     */
    public Tensor rows(Tensor t) {
        long[] shape = t.shapeArray();
        long[] strides = t.stridesArray();
        int last = shape.length - 1;
        boolean fits = last >= 0 && (shape[last] <= 1 || strides[last] == 1);
        // walk outwards: each dimension steps over the whole of the one inside it
        int inner = -1;
        for (int i = last - 1; i >= 0 && fits; i--) {
            if (shape[i] == 1) {
                continue;
            }
            fits = inner < 0 ? strides[i] >= shape[last] : strides[i] == strides[inner] * shape[inner];
            inner = i;
        }
        return fits ? t : t.copy(scope);
    }

    /** A tensor whose last dimension is contiguous: itself or a contiguous copy. */
    public Tensor channels(Tensor t) {
        int last = t.rank() - 1;
        return last >= 0 && (t.size(last) <= 1 || t.stridesArray()[last] == 1) ? t : t.copy(scope);
    }

    /** A contiguous tensor: itself or a copy. */
    public Tensor dense(Tensor t) {
        return t.isContiguous() ? t : t.copy(scope);
    }

    /** How many inputs there were. */
    public int inputs() {
        return shapes.length;
    }

    /** The shape an input had. */
    public long[] inputShape(int input) {
        return shapes[input].clone();
    }

    /** The dtype an input had. */
    public DType inputType(int input) {
        return types[input];
    }

    /**
     * The dtype of an input's gradient: that of the input, but f32 for a watched tensor, whatever its own, since its gradients are added up
     * over uses and steps.
     */
    public DType gradientType(int input) {
        return leaves[input] ? DType.F32 : types[input];
    }

    /** Memory for the gradient of an input: its shape, {@link #gradientType}, undefined contents. */
    public Tensor emptyGradient(int input) {
        return scope.empty(gradientType(input), shapes[input]);
    }

    /**
     * In forward: whether the memory of an input that its caller gives up may be taken for the result: the memory is not an older scope's, and no
     * backward reads it.
     */
    public boolean overwritable(Tensor input) {
        return input.block.owner == input.scope() && input.block.savers == 0;
    }

    /** Puts tensors aside for {@link #backward}: inputs, the result, or what was computed on the way. Called once, in forward. */
    public void save(Tensor... tensors) {
        saved = tensors;
        versions = new int[tensors.length];
        recomputed = new Block[tensors.length];
        for (int i = 0; i < tensors.length; i++) {
            versions[i] = tensors[i].version();
            tensors[i].block.savers += needsGradient() ? 1 : 0;
        }
    }

    /**
     * A tensor that was put aside.
     *
     * @throws TensorException if it was overwritten since, or its scope was closed
     */
    public Tensor saved(int index) {
        Tensor t = saved[index];
        if (!t.isLive() && t.block.remake != null) {
            if (recomputed[index] == null || recomputed[index].owner == null) {
                recomputed[index] = t.block.remake.apply(scope);
            }
            return t.over(recomputed[index], scope);
        }
        if (!t.isLive()) {
            throw new TensorException(function.name() + ": the scope of a tensor needed for the gradient was closed before backward");
        }
        if (t.version() != versions[index]) {
            throw new TensorException(
                    function.name() + ": " + t.describe() + ", needed for the gradient, was overwritten in place before backward");
        }
        // in an ordinary sweep what is computed from it must die with the sweep's inner scope
        return graph ? t : t.alias(scope);
    }

    /** In backward: {@link #saved} of this index is not read again, so what it had to compute again may go. */
    public void forget(int index) {
        if (recomputed[index] != null && !graph) {
            Scope.release(recomputed[index]);
        }
    }

    /** Whether anything will ask for the gradient of an input. */
    public boolean needsGradient(int input) {
        return wanted[input];
    }

    /** Whether anything will ask for any gradient: if not, forward need not save. */
    public boolean needsGradient() {
        for (boolean b : tracked) {
            if (b) {
                return true;
            }
        }
        return false;
    }

    /**
     * In backward: the buffer into which the gradient of this input is accumulated, if there is one (a parameter's gradient, or
     * what later uses of the input have found of it), of dtype {@link #gradientType}. A function that can add to it directly may do so
     * and return null for the input, which saves a pass over memory.
     */
    public @Nullable Tensor accumulator(int input) {
        return accumulators.length == 0 ? null : accumulators[input];
    }

    /**
     * In backward: memory for a gradient of the same shape and dtype as the result's. It is that gradient's own where nothing else needs it,
     * so what is computed must allow working in place; else it is new.
     */
    public Tensor reuse(Tensor gradient) {
        return ownsGradient ? gradient : like(gradient);
    }

    /**
     * In forward: says how to compute the result again, so that {@link Tensor#release} may give its memory back before backward.
     *
     * @param from what the contents are computed from
     * @param fill given {@code from}, writes them into another tensor of the result's type and shape
     */
    public void recomputable(Tensor result, Tensor from, BiConsumer<Tensor, Tensor> fill) {
        result.block.remake = new Remake(function.name(), result, from, from.version(), fill);
    }

    /** In backward: whether what is computed is differentiated again, so that it must be written in tensor operations. */
    boolean createsGraph() {
        return graph;
    }

    /** After the last backward: what nobody else uses may go. {@code inFlight} are gradients that this backward gave. */
    void done(List<Tensor> inFlight) {
        for (Tensor t : saved) {
            unsave(t.block, inFlight);
        }
    }

    private static void unsave(Block block, List<Tensor> inFlight) {
        if (--block.savers > 0) {
            return;
        }
        if (block.owner == null && block.remake != null) {
            // it was released while something needed it, for which its source was kept
            unsave(block.remake.from().block, inFlight);
        } else if (block.owner != null && block.discarded && inFlight.stream().noneMatch(gradient -> gradient.block == block)) {
            Scope.release(block);
        }
    }

    Function function() {
        return function;
    }

    /** Prepares one call of backward. */
    void sweep(Scope in, boolean[] wantedNow, @Nullable Tensor[] into, boolean createGraph, boolean gradientIsFree) {
        ownsGradient = gradientIsFree;
        scope = in;
        wanted = wantedNow;
        accumulators = into;
        graph = createGraph;
    }

    @Override
    public String toString() {
        return function.name() + Arrays.toString(tracked);
    }
}
