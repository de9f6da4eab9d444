// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The parameters and state of a network (or of one part that is trained together). Layers name what they need when they are
 * made; {@link #build} then gives all values one flat buffer and all gradients another, so that an optimizer's step, an
 * all-reduce or a checkpoint is one sweep. Names are the names in files. {@link #sub} gives a part of the same store under a
 * prefix.
 *
 * <pre>{@code
 * Parameters parameters = Parameters.create();
 * Layer net = new Linear(parameters.sub("head"), 128, 10, true);   // head.weight, head.bias
 * parameters.build(device, seed);
 * }</pre>
 */
public final class Parameters {
    /** Every parameter starts at a multiple of so many elements (64 bytes); the gaps hold zeros with zero gradients. */
    public static final long ALIGNMENT = 16;

    /** Stream of the random key that initial weights are drawn under. */
    public static final int INITIAL_STREAM = 0x1417;

    private static final class Store {
        final String name;
        final Map<String, Parameter> parameters = new LinkedHashMap<>();
        final Map<String, State> states = new LinkedHashMap<>();
        final Map<String, Parameters> apart = new LinkedHashMap<>();
        @Nullable Tensor values;
        @Nullable Tensor gradients;

        final Map<DType, ComputeCopy> copies = new EnumMap<>(DType.class);

        Store(String name) {
            this.name = name;
        }

        // a network that computes in f32 never pays for another copy of its weights
        ComputeCopy copy(DType type) {
            return copies.computeIfAbsent(type, t -> new ComputeCopy(values, parameters.values(), t));
        }

        // a network that is never trained never pays for gradients
        Tensor gradients() {
            if (values == null) {
                throw new TensorException("the parameters have no memory yet: call Parameters.build first");
            }
            if (gradients == null) {
                gradients = values.scope().zeros(values.elements());
            }
            return gradients;
        }
    }

    private final Store store;
    private final String prefix;

    private Parameters(Store store, String prefix) {
        this.store = store;
        this.prefix = prefix;
    }

    /** An empty store. */
    public static Parameters create() {
        return new Parameters(new Store(""), "");
    }

    /**
     * A store of its own beside this one, for what this store's optimizer must not touch: a target network that follows by
     * {@link dev.gatun.tensor.optimizer.Ema}, a head with an update rule of its own. It is built, saved and restored with this
     * store, under names that start with {@code name}. Initial values are drawn under the names inside: a network that is
     * declared here as it is in this store starts equal to it.
     *
     * @param name not yet the start of another name of this store
     */
    public Parameters apart(String name) {
        if (!isWhole()) {
            throw new TensorException("apart(" + name + ") is a store beside a whole store, not beside the part " + prefix);
        }
        String start = prefix + name + ".";
        declare(name);
        if (Stream.concat(tensorNames(), store.apart.keySet().stream()).anyMatch(other -> other.startsWith(start))) {
            throw new TensorException("names start with " + start + " already");
        }
        Parameters apart = new Parameters(new Store(start), start);
        store.apart.put(start, apart);
        return apart;
    }

    /** The stores that {@link #apart(String)} made, in order. */
    public List<Parameters> apart() {
        return List.copyOf(store.apart.values());
    }

    /** Whether this is a whole store and not a part of one. */
    public boolean isWhole() {
        return prefix.equals(store.name);
    }

    /** The part of this store whose names start with {@code name} and a dot. */
    public Parameters sub(String name) {
        return new Parameters(store, prefix + name + ".");
    }

    /** The prefix of this part, empty at the root. */
    public String prefix() {
        return prefix;
    }

    /** Declares a parameter; weight decay applies if it has two or more dimensions of its own. */
    public Parameter parameter(String name, Initializer initializer, long... shape) {
        return parameter(name, initializer, FileLayout.SAME, shape.length > 1, shape);
    }

    /**
     * Declares a parameter.
     *
     * @param decay whether weight decay and layer-wise adaptation apply to it
     */
    public Parameter parameter(String name, Initializer initializer, FileLayout fileLayout, boolean decay, long... shape) {
        String full = declare(name);
        for (long d : shape) {
            if (d <= 0) {
                throw new TensorException("parameter " + full + " has shape " + Arrays.toString(shape));
            }
        }
        Parameter p = new Parameter(full, initializer, fileLayout, decay, shape);
        store.parameters.put(full, p);
        return p;
    }

    /** Declares f32 state with one initial value everywhere. */
    public State state(String name, float initial, long... shape) {
        String full = declare(name);
        State s = new State(full, DType.F32, initial, shape);
        store.states.put(full, s);
        return s;
    }

    /** Declares state of any dtype, initially zero. */
    public State state(String name, DType dtype, long... shape) {
        String full = declare(name);
        State s = new State(full, dtype, 0f, shape);
        store.states.put(full, s);
        return s;
    }

    private String declare(String name) {
        String full = prefix + name;
        if (store.values != null) {
            throw new TensorException(full + " was declared after build");
        }
        if (store.parameters.containsKey(full)
                || store.states.containsKey(full)
                || store.apart.keySet().stream().anyMatch(full::startsWith)) {
            throw new TensorException("two tensors are named " + full);
        }
        return full;
    }

    private Stream<String> tensorNames() {
        return Stream.concat(store.parameters.keySet().stream(), store.states.keySet().stream());
    }

    /** The parameters of this part in order of declaration. */
    public List<Parameter> all() {
        return store.parameters.values().stream()
                .filter(p -> p.name().startsWith(prefix))
                .toList();
    }

    /** The state of this part in order of declaration. */
    public List<State> states() {
        return store.states.values().stream().filter(s -> s.name().startsWith(prefix)).toList();
    }

    /** Number of trained values in this part. */
    public long count() {
        return all().stream().mapToLong(Parameter::elements).sum();
    }

    /** Parameters and state of this part, in order, then those of the stores apart: what a checkpoint holds of it. */
    public List<NamedTensor> tensors() {
        List<NamedTensor> tensors = new ArrayList<>();
        all().forEach(p -> tensors.add(new NamedTensor(p.name(), p.value())));
        states().forEach(s -> tensors.add(new NamedTensor(s.name(), s.value())));
        if (isWhole()) {
            apart().forEach(apart -> tensors.addAll(apart.tensors()));
        }
        return tensors;
    }

    /**
     * Gives every parameter and state of the whole store memory on a device, in its root scope, and initial values.
     *
     * @param seed the run's seed
     */
    public void build(Device device, long seed) {
        build(device.scope(), seed);
    }

    /** As {@link #build(Device, long)} in a scope of the caller's, which the network then lives in. */
    public void build(Scope scope, long seed) {
        if (store.values != null) {
            throw new TensorException("Parameters.build was called twice");
        }
        long total = 0;
        Map<Parameter, Long> offsets = new LinkedHashMap<>();
        for (Parameter p : store.parameters.values()) {
            offsets.put(p, total);
            total += (p.elements() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        store.values = scope.zeros(total);
        if (store.name.isEmpty()) {
            store.gradients();
        }
        RandomKey key = new RandomKey(seed, 0, INITIAL_STREAM);
        offsets.forEach((p, at) -> {
            p.place(at, store.values.part(at, p.shape()), () -> store.gradients().part(at, p.shape()), store::copy);
            p.initializer().fill(p.value(), key.named(p.name().substring(store.name.length())));
        });
        for (State s : store.states.values()) {
            Tensor t = scope.zeros(s.dtype(), s.shape());
            if (s.initial() != 0f) {
                t.fill(s.initial());
            }
            s.place(t);
        }
        apart().forEach(apart -> apart.build(scope, seed));
    }

    /**
     * Makes room for the copies of the whole store's values, and of those apart, that a training in a dtype other than f32 computes with
     * ({@link Pass#use(Parameter, DType)}). Without, the first pass does.
     */
    public void computeIn(DType type) {
        if (type != DType.F32) {
            values();
            store.copy(type);
            apart().forEach(apart -> apart.computeIn(type));
        }
    }

    /** Whether {@link #build} has been called. */
    public boolean built() {
        return store.values != null;
    }

    /** All values of the store in one f32 vector; parameters start at their {@link Parameter#offset}. */
    public Tensor values() {
        if (store.values == null) {
            throw new TensorException("the parameters have no memory yet: call Parameters.build first");
        }
        return store.values;
    }

    /** All gradients, laid out like {@link #values}. */
    public Tensor gradients() {
        return store.gradients();
    }

    /** The first parameter, of this whole store and then of those apart, whose gradient is not finite. */
    public Optional<Parameter> notFinite() {
        boolean suspect = store.gradients != null && !store.gradients.finite();
        Stream<Parameter> mine = suspect ? all().stream().filter(p -> !p.gradient().finite()) : Stream.empty();
        return Stream.concat(mine, apart().stream().flatMap(apart -> apart.notFinite().stream())).findFirst();
    }

    /** Sets the gradients of the whole store, and of those apart, to zero: the start of an (accumulated) step. */
    public void zeroGradients() {
        gradients().zero();
        apart().forEach(Parameters::zeroUsedGradients);
    }

    // a store that nothing was learnt in has no gradients, but those apart from it may
    private void zeroUsedGradients() {
        if (store.gradients != null) {
            store.gradients.zero();
        }
        apart().forEach(Parameters::zeroUsedGradients);
    }

    /** Tells tapes that all values were overwritten, as an optimizer's sweep does. */
    public void written() {
        store.parameters.values().forEach(p -> p.value().written());
    }

    /**
     * Copies values and state from the tensors of the same names, for instance into a target network.
     *
     * @param other a store or part that has at least this one's names, behind its own prefix, with their shapes
     */
    public void copyFrom(Parameters other) {
        Map<String, Tensor> from = new HashMap<>();
        other.tensors().forEach(t -> from.put(t.name().substring(other.prefix.length()), t.tensor()));
        for (NamedTensor to : tensors()) {
            String name = to.name().substring(prefix.length());
            if (!from.containsKey(name)) {
                throw new TensorException("copyFrom: " + (other.prefix.isEmpty() ? "the other store" : other.prefix) + " has no " + name);
            }
            to.tensor().copyFrom(from.get(name));
        }
    }
}
