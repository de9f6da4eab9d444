// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Reverse-mode differentiation. A tape records what is computed from the tensors it watches; {@link #backward} then goes
 * through the record in reverse. A tape is an instance without global state, lives in a scope, and is used by one thread.
 * Gradients are accumulated in the reverse order of recording, so they have the same bits in every run.
 *
 * <pre>{@code
 * try (Scope step = device.scope().open()) {
 *     Tape tape = Tape.on(step);
 *     Tensor w = tape.watch(weights);
 *     tape.backward(x.matmul(w).square().mean());
 *     Tensor gradient = tape.gradient(w);
 * }
 * }</pre>
 */
public final class Tape {
    private static final class Node {
        final @Nullable FunctionContext context;
        final int[] inputs;
        final long[] shape;
        /** Of gradients in flight and of what they add up to: the value's, but f32 for a leaf. */
        final DType gradientType;
        /** Leaves: where gradients are added up; for a leaf without a buffer of its own made at the first gradient. */
        @Nullable Tensor accumulator;

        Node(@Nullable FunctionContext context, int[] inputs, Tensor value) {
            this.context = context;
            this.inputs = inputs;
            this.shape = value.shapeArray();
            this.gradientType = context == null ? DType.F32 : value.dtype();
        }
    }

    private final Scope scope;
    private final List<Node> nodes = new ArrayList<>();
    private boolean recording = true;
    private boolean releasing;
    private boolean checkFinite;

    private Tape(Scope scope) {
        this.scope = scope;
    }

    /** A tape whose watched tensors and gradients live in {@code scope}. */
    public static Tape on(Scope scope) {
        scope.check();
        return new Tape(scope);
    }

    /** The scope the tape lives in. */
    public Scope scope() {
        return scope;
    }

    /** Number of recorded applications and watched tensors. */
    public int size() {
        return nodes.size();
    }

    /**
     * Whether every recorded operation checks that its result is finite, and every watched tensor likewise. Slow: meant for
     * finding the operation that broke a loss, by computing the loss once more.
     *
     * @param on from now on, an operation whose result holds NaN or an infinity throws a {@link TensorException} that names it
     */
    public void checkFinite(boolean on) {
        checkFinite = on;
    }

    private void check(String name, Tensor t) {
        if (checkFinite && t.dtype().floating() && !t.finite()) {
            throw new TensorException(name + ": " + t.describe() + " is not finite");
        }
    }

    /**
     * Starts recording from a tensor, f32, bf16 or f16; returns its tracked alias, whose gradient, f32 in any case, {@link #gradient} gives
     * after a backward.
     */
    public Tensor watch(Tensor t) {
        return leaf(t, null);
    }

    /** Starts recording from a tensor whose gradients are added to {@code accumulator}, an f32 tensor of the same shape. */
    public Tensor watch(Tensor t, Tensor accumulator) {
        if (!Arrays.equals(t.shapeArray(), accumulator.shapeArray()) || accumulator.dtype() != DType.F32) {
            throw new TensorException("watch: a gradient buffer " + accumulator.describe() + " for " + t.describe());
        }
        return leaf(t, accumulator);
    }

    private Tensor leaf(Tensor t, @Nullable Tensor accumulator) {
        if (!t.dtype().floating()) {
            throw new TensorException("watch: only f32, bf16 and f16 tensors have gradients, given " + t.describe());
        }
        if (t.tracked()) {
            throw new TensorException("watch: the tensor is tracked already; detach() it first");
        }
        check("watch", t);
        Tensor watched = scope.attach(t);
        Node node = new Node(null, new int[0], t);
        node.accumulator = accumulator;
        watched.track(this, nodes.size());
        nodes.add(node);
        return watched;
    }

    static Tensor apply(Function function, Tensor... inputs) {
        if (inputs.length == 0) {
            throw new TensorException(function.name() + ": no inputs");
        }
        Scope scope = inputs[0].scope();
        Tape tape = null;
        boolean[] tracked = new boolean[inputs.length];
        boolean[] leaves = new boolean[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            scope = Scope.youngest(scope, inputs[i].scope());
            Tape other = inputs[i].tape();
            if (other != null) {
                if (tape != null && tape != other) {
                    throw new TensorException(function.name() + ": the inputs are tracked by two tapes");
                }
                tape = other;
                tracked[i] = true;
                leaves[i] = other.nodes.get(inputs[i].node()).context == null;
            }
        }
        scope.check();
        boolean record = tape != null && tape.recording;
        if (!record) {
            Arrays.fill(tracked, false);
        }
        FunctionContext context = new FunctionContext(function, scope, tracked, leaves, inputs);
        // what forward computes inside is part of this node, not nodes of its own
        if (record) {
            tape.recording = false;
        }
        Tensor result;
        try {
            result = function.forward(context, inputs);
        } finally {
            if (record) {
                tape.recording = true;
            }
        }
        for (Tensor input : inputs) {
            if (result == input) {
                result = result.alias(scope);
            }
        }
        if (record) {
            tape.check(function.name(), result);
        }
        if (record && result.dtype().floating()) {
            int[] from = new int[inputs.length];
            for (int i = 0; i < inputs.length; i++) {
                from[i] = tracked[i] ? inputs[i].node() : -1;
            }
            Node node = new Node(context, from, result);
            result.track(tape, tape.nodes.size());
            tape.nodes.add(node);
        }
        return result;
    }

    /**
     * Computes the gradients of a scalar loss and adds them up: into the buffers given to {@link #watch(Tensor, Tensor)}, else
     * into what {@link #gradient} returns. May be called for several losses on one tape.
     */
    public void backward(Tensor loss) {
        own(loss, "backward");
        if (loss.elements() != 1) {
            throw new TensorException("backward: a loss is a single value, given " + loss.describe());
        }
        try (Scope sweep = scope.open()) {
            backward(loss, one(sweep, loss));
        }
    }

    /**
     * As {@link #backward(Tensor)}, for the last time on this tape: what it has read and nobody else uses ({@link Scope#discard}) is given back
     * on the way, so that the step's memory falls while gradients come up. Another backward through the same results is an error.
     */
    public void lastBackward(Tensor loss) {
        releasing = true;
        try {
            backward(loss);
        } finally {
            releasing = false;
        }
    }

    /** As {@link #backward(Tensor)} for a result of any shape whose gradient is known. */
    public void backward(Tensor result, Tensor gradient) {
        own(result, "backward");
        boolean[] leaves = new boolean[nodes.size()];
        for (int i = 0; i < leaves.length; i++) {
            leaves[i] = nodes.get(i).context == null;
        }
        try (Scope sweep = scope.open()) {
            run(result, gradient, leaves, true, false, sweep);
        }
    }

    /** The gradient of a watched tensor, added up over the backward calls so far; zero if none reached it. */
    public Tensor gradient(Tensor watched) {
        own(watched, "gradient");
        Node node = nodes.get(watched.node());
        if (node.context != null) {
            throw new TensorException("gradient: " + watched.describe() + " is a result, not watched; use gradients(...)");
        }
        if (node.accumulator == null) {
            node.accumulator = scope.zeros(node.shape);
        }
        return node.accumulator;
    }

    /**
     * The gradients of a scalar with respect to any tracked tensors, without touching any buffer.
     *
     * @param createGraph whether the gradients themselves are tracked, so that they can be part of a loss; every operation on
     *     the way must be {@link Function#twiceDifferentiable}
     * @return one tensor an entry of {@code of}, in the tape's scope; zeros where {@code result} does not depend on it
     */
    public List<Tensor> gradients(Tensor result, List<Tensor> of, boolean createGraph) {
        own(result, "gradients");
        if (result.elements() != 1) {
            throw new TensorException("gradients: of a single value, given " + result.describe());
        }
        boolean[] targets = new boolean[nodes.size()];
        for (Tensor t : of) {
            own(t, "gradients");
            targets[t.node()] = true;
        }
        Scope sweep = createGraph ? scope : scope.open();
        try {
            Tensor[] slots = run(result, one(sweep, result), targets, false, createGraph, sweep);
            List<Tensor> gradients = new ArrayList<>();
            for (Tensor t : of) {
                Tensor g = slots[t.node()];
                if (g == null) {
                    g = scope.zeros(nodes.get(t.node()).gradientType, t.shapeArray());
                } else if (!createGraph) {
                    g = g.keep(scope);
                }
                gradients.add(g);
            }
            return gradients;
        } finally {
            if (!createGraph) {
                sweep.close();
            }
        }
    }

    private Tensor one(Scope sweep, Tensor result) {
        return sweep.empty(nodes.get(result.node()).gradientType, result.shapeArray()).fill(1f);
    }

    private void own(Tensor t, String what) {
        if (t.tape() != this) {
            throw new TensorException(what + ": " + t.describe() + (t.tracked() ? " is tracked by another tape" : " is not tracked"));
        }
    }

    /**
     * One sweep in reverse order of recording. Gradients in flight live in {@code sweep} and are given back as soon as the last
     * user is done, so the sweep's memory is that of the live frontier and not of all gradients.
     */
    private @Nullable Tensor[] run(
            Tensor result, Tensor seed, boolean[] targets, boolean intoLeaves, boolean createGraph, Scope sweep) {
        if (!Arrays.equals(seed.shapeArray(), result.shapeArray()) || seed.dtype() != nodes.get(result.node()).gradientType) {
            throw new TensorException("backward: a gradient " + seed.describe() + " for " + result.describe());
        }
        int last = result.node();
        boolean[] useful = useful(targets, last);
        Tensor[] slots = new Tensor[nodes.size()];
        slots[last] = seed;
        // a gradient given from outside may be in flight in the sweep of another tape, which counts its uses
        if (seed.block.owner == sweep) {
            seed.block.uses = 1;
        }
        boolean before = recording;
        recording = createGraph;
        try {
            for (int i = last; i >= 0; i--) {
                Tensor gradient = slots[i];
                if (gradient == null || !useful[i]) {
                    continue;
                }
                Node node = nodes.get(i);
                if (node.context == null) {
                    if (intoLeaves) {
                        accumulate(node, gradient, sweep);
                        slots[i] = null;
                        drop(gradient, sweep);
                    }
                    continue;
                }
                step(node, gradient, slots, useful, targets[i], intoLeaves, createGraph, sweep);
                if (releasing) {
                    node.context.done(Arrays.stream(node.inputs).filter(from -> from >= 0 && slots[from] != null).mapToObj(from -> slots[from]).toList());
                }
                if (!targets[i]) {
                    slots[i] = null;
                    if (!createGraph) {
                        drop(gradient, sweep);
                    }
                }
            }
        } finally {
            recording = before;
        }
        return slots;
    }

    /** Which nodes lie between a target and the result. */
    private boolean[] useful(boolean[] targets, int last) {
        boolean[] useful = new boolean[nodes.size()];
        for (int i = 0; i <= last; i++) {
            useful[i] = targets[i];
            for (int from : nodes.get(i).inputs) {
                useful[i] |= from >= 0 && useful[from];
            }
        }
        return useful;
    }

    private void step(
            Node node,
            Tensor gradient,
            @Nullable Tensor[] slots,
            boolean[] useful,
            boolean target,
            boolean intoLeaves,
            boolean createGraph,
            Scope sweep) {
        FunctionContext context = node.context;
        Function function = context.function();
        if (createGraph && !function.twiceDifferentiable()) {
            String instead = function.composedForm();
            throw new TensorException(function.name() + " has no second derivative"
                    + (instead.isEmpty() ? "" : "; use " + instead + " where the gradient is differentiated again"));
        }
        boolean[] wanted = new boolean[node.inputs.length];
        Tensor[] into = new Tensor[node.inputs.length];
        for (int k = 0; k < wanted.length; k++) {
            int from = node.inputs[k];
            wanted[k] = from >= 0 && useful[from];
            if (wanted[k] && intoLeaves && nodes.get(from).accumulator != null) {
                into[k] = nodes.get(from).accumulator;
            } else if (wanted[k] && !createGraph && ownedBySlot(slots[from], sweep)) {
                into[k] = slots[from];
            }
        }
        Scope inner = createGraph ? sweep : sweep.open();
        try {
            context.sweep(inner, wanted, into, createGraph, !createGraph && !target && ownedBySlot(gradient, sweep));
            Tensor[] gradients = function.backward(context, createGraph ? gradient : inner.attach(gradient));
            if (gradients.length != wanted.length) {
                throw new TensorException(
                        function.name() + ": backward gave " + gradients.length + " gradients for " + wanted.length + " inputs");
            }
            for (int k = 0; k < wanted.length; k++) {
                Tensor g = gradients[k];
                if (g == null || !wanted[k]) {
                    continue;
                }
                if (!Arrays.equals(g.shapeArray(), context.inputShape(k))
                        || g.dtype() != context.gradientType(k) && g.dtype() != context.inputType(k)) {
                    throw new TensorException(function.name() + ": backward gave " + g.describe() + " for input " + k + ", "
                            + context.inputType(k) + Shapes.text(context.inputShape(k)));
                }
                // a half gradient of a leaf is widened, which loses nothing
                Tensor wide = g.dtype() == context.gradientType(k) ? g : g.to(context.gradientType(k));
                add(node.inputs[k], wide, slots, createGraph, inner, sweep);
            }
        } finally {
            if (!createGraph) {
                inner.close();
            }
        }
    }

    private void add(int to, Tensor g, @Nullable Tensor[] slots, boolean createGraph, Scope inner, Scope sweep) {
        Tensor sum = slots[to];
        if (createGraph) {
            slots[to] = sum == null ? g : sum.add(g);
            return;
        }
        if (sum == null) {
            slots[to] = hold(g, inner, sweep);
        } else if (ownedBySlot(sum, sweep) && g.block != sum.block) {
            Kernels.accumulate(sum, g, 1f);
        } else {
            Tensor fresh = sweep.empty(sum.dtype(), sum.shapeArray());
            fresh.block.uses = 1;
            Kernels.sum(sum, g, fresh);
            drop(sum, sweep);
            slots[to] = fresh;
        }
    }

    /** Whether a gradient in flight is used by its one slot only, each element once, so that it may be changed in place. */
    private static boolean ownedBySlot(@Nullable Tensor g, Scope sweep) {
        return g != null && g.block.owner == sweep && g.block.uses == 1 && g.isContiguous();
    }

    private static Tensor hold(Tensor g, Scope inner, Scope sweep) {
        if (g.block.owner == inner) {
            Scope.move(g.block, sweep);
            g.block.uses = 0;
        }
        if (g.block.owner == sweep) {
            g.block.uses++;
        }
        return g.alias(sweep);
    }

    private static void drop(Tensor g, Scope sweep) {
        if (g.block.owner == sweep && --g.block.uses == 0) {
            Scope.release(g.block);
        }
    }

    private void accumulate(Node leaf, Tensor gradient, Scope sweep) {
        if (leaf.accumulator == null && ownedBySlot(gradient, sweep)) {
            Scope.move(gradient.block, scope);
            leaf.accumulator = gradient.alias(scope);
        } else if (leaf.accumulator == null) {
            leaf.accumulator = gradient.copy(scope);
        } else {
            Kernels.accumulate(leaf.accumulator, gradient, 1f);
        }
    }
}
