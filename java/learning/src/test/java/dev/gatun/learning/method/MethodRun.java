// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.data.View;
import dev.gatun.data.ViewRole;
import dev.gatun.learning.Method;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.learning.StoreOptimizer;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.optimizer.Optimizer;
import dev.gatun.tensor.optimizer.Schedule;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.stream.LongStream;

/** A method on its own: no trainer, no files, no data but batches of noise. */
final class MethodRun<M extends Method> {
    static final int B = 24;
    static final int SIDE = 3;
    static final int STEPS_PER_EPOCH = 4;
    static final int STEPS = 3 * STEPS_PER_EPOCH;
    static final long SEED = 5;

    final M method;
    final Device device;
    final Parameters parameters = Parameters.create();
    final List<Integer> passes = new ArrayList<>();
    final List<String> warnings = new ArrayList<>();
    final Map<String, Double> metrics = new LinkedHashMap<>();
    final List<ViewRole> roles;
    private final Map<Optimizer, Schedule> optimizers = new LinkedHashMap<>();

    /** On an encoder without parameters, as many samples as a batch has, and no labels. */
    MethodRun(Device device, M method, ViewRole... roles) {
        this(device, method, null, B, 0, roles);
    }

    /**
     * @param encoders makes the encoder where its parameters go; null = {@link #pixels}
     * @param samples training samples
     * @param classes of the labels
     */
    MethodRun(Device device, M method, Function<Parameters, Encoder> encoders, int samples, int classes, ViewRole... roles) {
        this.device = device;
        this.method = method;
        this.roles = List.of(roles);
        List<StoreOptimizer> wanted = new ArrayList<>();
        Function<Parameters, Encoder> made = encoders == null ? into -> pixels() : into -> encoders.apply(into.sub("backbone"));
        method.build(new MethodBuild(
                made.apply(parameters), made, parameters, this.roles, samples, B, classes, STEPS_PER_EPOCH, STEPS, wanted::add,
                warnings::add));
        parameters.build(device, SEED);
        wanted.forEach(own -> optimizers.put(own.maker().apply(own.store()), own.rate()));
    }

    static ViewRole global(int size) {
        return new ViewRole("global", size);
    }

    static ViewRole local(int size) {
        return new ViewRole("local", size);
    }

    /** The mean over one spatial dimension of the leading corner, for any resolution; notes the rows of every pass. */
    Encoder pixels() {
        return new Encoder() {
            @Override
            public int features() {
                return SIDE;
            }

            @Override
            public Tensor forward(Pass pass, Tensor x) {
                passes.add((int) x.size(0));
                return MethodRun.features(x);
            }
        };
    }

    /** What {@link #pixels} computes. */
    static Tensor features(Tensor x) {
        return x.slice(1, 0, SIDE).slice(2, 0, SIDE).mean(1).mean(-1);
    }

    /** A batch of noise with the samples 0, 1, ... */
    Batch batch(Scope scope, long seed) {
        return batch(scope, seed, LongStream.range(0, B).toArray(), new int[0]);
    }

    Batch batch(Scope scope, long seed, long[] ids, int[] labels) {
        SplittableRandom random = new SplittableRandom(seed);
        List<View> views = new ArrayList<>();
        for (ViewRole role : roles) {
            float[] pixels = new float[ids.length * role.size() * role.size()];
            for (int i = 0; i < pixels.length; i++) {
                pixels[i] = (float) random.nextGaussian();
            }
            views.add(new View(role.role(), role.size(), scope.of(pixels, ids.length, role.size(), role.size(), 1)));
        }
        return new Batch(ids, views, labels);
    }

    Step step(Scope scope, long index) {
        return step(scope, index, .1f);
    }

    Step step(Scope scope, long index, float learningRate) {
        RandomKey key = new RandomKey(SEED, index, 0);
        return new Step(
                index, STEPS, STEPS_PER_EPOCH, learningRate, Pass.training(Tape.on(scope), key), key, metrics);
    }

    /** Loss and gradients of a step without an update; the loss. */
    float loss(long index, long seed) {
        return loss(index, scope -> batch(scope, seed));
    }

    float loss(long index, Function<Scope, Batch> batches) {
        try (Scope scope = device.scope().open()) {
            return backward(step(scope, index), batches.apply(scope));
        }
    }

    /** A whole update; the loss before it. */
    float update(long index, Function<Scope, Batch> batches, Optimizer optimizer, float learningRate) {
        try (Scope scope = device.scope().open()) {
            Step step = step(scope, index, learningRate);
            float loss = backward(step, batches.apply(scope));
            optimizer.step(learningRate);
            optimizers.forEach((own, rate) -> own.step(rate.at(index)));
            method.afterUpdate(step);
            return loss;
        }
    }

    private float backward(Step step, Batch batch) {
        parameters.zeroGradients();
        method.beforeStep(step);
        step.pass().withSamples(batch.ids());
        Tensor loss = method.loss(batch, step);
        step.tape().backward(loss);
        method.afterBackward(step);
        return loss.item();
    }

    /** All f32 tensors that a checkpoint would hold, by name. */
    Map<String, float[]> tensors() {
        Map<String, float[]> all = new LinkedHashMap<>();
        for (NamedTensor tensor : parameters.tensors()) {
            if (tensor.tensor().dtype() == dev.gatun.primitives.DType.F32) {
                all.put(tensor.name(), tensor.tensor().toArray());
            }
        }
        return all;
    }
}
