// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.data.Batch;
import dev.gatun.data.Datasets;
import dev.gatun.data.View;
import dev.gatun.data.ViewRole;
import dev.gatun.learning.Method;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.StochasticDepth;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.optimizer.Optimizer;
import dev.gatun.vision.backbone.VitSettings;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.SplittableRandom;

/** The step of a pipeline file, ours: encoder, method and optimizer on views that lie in memory. */
final class Training implements AutoCloseable {
    private static final int METHOD_STREAM = 5;
    private static final long STEPS = 10_000;
    private static final long STEPS_PER_EPOCH = 100;

    private final Pipeline pipeline;
    private final Device device;
    private final Parameters parameters = Parameters.create();
    private final Method method;
    private final Optimizer optimizer;
    private final float rate;
    private final List<ViewRole> roles;
    private final List<Tensor> views;
    private final long[] ids;
    private final int[] labels;
    private long steps;

    Training(Path file, List<String> overrides, int threads) {
        pipeline = PipelineReader.read(file, overrides);
        device = Device.cpu(threads);
        Datasets data = pipeline.data().provider().create(pipeline.data().settings(), pipeline.seed());
        var shown = pipeline.views().provider().create(pipeline.views().settings(), data.pretrain());
        roles = shown.roles();
        int batch = pipeline.batch().batch();
        int classes = data.pretrain().classes();
        Encoder encoder = pipeline.model().provider().create(pipeline.model().settings(), parameters.sub("backbone"), shown.shape());
        method = pipeline.method().provider().create(pipeline.method().settings());
        method.build(new MethodBuild(
                encoder, other -> encoder, parameters, roles, data.pretrain().size(), batch, classes, STEPS_PER_EPOCH, STEPS, own -> {}, warning -> {}));
        parameters.build(device, pipeline.seed());
        method.restored();
        optimizer = pipeline.optimizer().provider().create(pipeline.optimizer().settings(), parameters);
        rate = (float) pipeline.optimizer().provider().lr(pipeline.optimizer().settings());
        views = new ArrayList<>();
        // Views of one size lie next to each other, as a run's loader lays them.
        for (int v = 0; v < roles.size(); ) {
            int side = roles.get(v).size();
            int end = v + 1;
            while (end < roles.size() && roles.get(end).size() == side) {
                end++;
            }
            Tensor all = normal(device, v, (long) (end - v) * batch, side, side, shown.shape()[2]);
            for (int i = 0; i < end - v; i++) {
                views.add(all.slice(0, (long) i * batch, (long) (i + 1) * batch));
            }
            v = end;
        }
        SplittableRandom random = new SplittableRandom(1);
        ids = new long[batch];
        labels = new int[batch];
        Arrays.setAll(ids, i -> i);
        Arrays.setAll(labels, i -> random.nextInt(classes));
    }

    /** Standard normal values, f32, in the device's root scope. */
    static Tensor normal(Device device, long seed, long... shape) {
        float[] values = new float[Math.toIntExact(Arrays.stream(shape).reduce(1, Math::multiplyExact))];
        SplittableRandom random = new SplittableRandom(seed);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return device.scope().of(values, shape);
    }

    /** Trains one step; its loss. */
    float step() {
        long now = steps++;
        try (Scope scope = device.scope().open()) {
            parameters.zeroGradients();
            Tape tape = Tape.on(scope);
            RandomKey key = key(now);
            Pass pass = Pass.training(tape, key).withSamples(ids);
            Step step = new Step(now, STEPS, STEPS_PER_EPOCH, rate, pass, key.stream(METHOD_STREAM), new HashMap<>());
            List<View> shown = new ArrayList<>();
            for (int v = 0; v < views.size(); v++) {
                shown.add(new View(roles.get(v).role(), roles.get(v).size(), scope.attach(views.get(v))));
            }
            method.beforeStep(step);
            Tensor loss = method.loss(new Batch(ids, shown, method.usesLabels() ? labels : new int[0]), step);
            tape.lastBackward(loss);
            method.afterBackward(step);
            optimizer.step(rate);
            method.afterUpdate(step);
            return loss.item();
        }
    }

    private RandomKey key(long step) {
        return new RandomKey(pipeline.seed(), step, 0);
    }

    Device device() {
        return device;
    }

    Pipeline pipeline() {
        return pipeline;
    }

    int batch() {
        return ids.length;
    }

    List<ViewRole> roles() {
        return roles;
    }

    float rate() {
        return rate;
    }

    /** Whether residuals of blocks are dropped at random. */
    boolean drops() {
        return pipeline.model().settings() instanceof VitSettings vit && vit.dropPath() > 0;
    }

    /** Whether only the kept rows of residuals are computed. */
    boolean subset() {
        return drops() && ((VitSettings) pipeline.model().settings()).dropPathForm().equals("subset");
    }

    int[] labels() {
        return labels;
    }

    /** The views' images (B, H, W, C). */
    Operand[] views() {
        return operands(views);
    }

    /** Bytes of all views. */
    long viewBytes() {
        return views.stream().mapToLong(view -> view.operand().layout().spanBytes()).sum();
    }

    /** Values in order of declaration; convolution weights (O, k, k, I). */
    Operand[] values() {
        return operands(parameters.all().stream().map(Parameter::value).toList());
    }

    /** Whether weight decay applies to each parameter. */
    int[] decays() {
        return parameters.all().stream().mapToInt(p -> p.decay() ? 1 : 0).toArray();
    }

    /** Trains a step: its loss, the gradients, and the parameters after it, both in order of declaration. */
    List<float[]> results() {
        List<float[]> results = new ArrayList<>();
        results.add(new float[] {step()});
        parameters.all().forEach(p -> results.add(p.gradient().toArray()));
        parameters.all().forEach(p -> results.add(p.value().toArray()));
        return results;
    }

    /** Names of the parameters in order of declaration. */
    List<String> names() {
        return parameters.all().stream().map(Parameter::name).toList();
    }

    /** Those of the last step in order of declaration, in the layout of the values. */
    Operand[] gradients() {
        return operands(parameters.all().stream().map(Parameter::gradient).toList());
    }

    /**
     * What the first step draws for stochastic depth, two of every block: factors f32 (rows), or the kept rows i32 where only those are computed.
     *
     * @param scope where they live
     */
    Operand[] draws(Scope scope) {
        if (!drops()) {
            return new Operand[0];
        }
        VitSettings vit = (VitSettings) pipeline.model().settings();
        boolean subset = subset();
        Pass pass = Pass.trainingWithoutGradient(scope, key(0)).withSamples(ids);
        List<Tensor> draws = new ArrayList<>();
        for (int i = 0; i < 2 * vit.depth(); i++) {
            Tensor samples = pass.samples(2L * batch());
            draws.add(subset
                    ? StochasticDepth.subset(scope, pass.nextKey(), samples, vit.dropPath())
                    : StochasticDepth.mask(scope, pass.nextKey(), samples, vit.dropPath()));
        }
        return operands(draws);
    }

    private static Operand[] operands(List<Tensor> tensors) {
        return tensors.stream().map(Tensor::operand).toArray(Operand[]::new);
    }

    @Override
    public void close() {
        device.close();
    }
}
