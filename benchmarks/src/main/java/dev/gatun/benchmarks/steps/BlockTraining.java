// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.primitives.Operand;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** A block of ours forward and backward, given the gradient of its result. */
final class BlockTraining implements AutoCloseable {
    private static final long COMPILING_NANOS = 3_000_000_000L;

    private final Device device;
    private final Parameters parameters = Parameters.create();
    private final Layer block;
    private final Tensor x;
    private final Tensor dx;
    private final Tensor dy;
    private final Tensor y;

    private BlockTraining(int threads, Function<Parameters, Layer> block, long... shape) {
        device = Device.cpu(threads);
        this.block = block.apply(parameters);
        parameters.build(device, 1);
        x = Training.normal(device, 1, shape);
        dy = Training.normal(device, 2, shape);
        dx = device.scope().zeros(shape);
        y = device.scope().zeros(shape);
    }

    /**
     * With the just-in-time compiler behind it, as in a training that is not over after seconds: a small one has run before.
     *
     * @param shape of the input and the result, images or sequences first
     */
    static BlockTraining compiled(int threads, Function<Parameters, Layer> block, long... shape) {
        long[] small = shape.clone();
        small[0] = 2;
        try (BlockTraining training = new BlockTraining(threads, block, small)) {
            Steps.repeat(training::run, COMPILING_NANOS);
        }
        return new BlockTraining(threads, block, shape);
    }

    /** Input, the result's gradient, parameters in order of declaration. */
    Operand[] operands() {
        List<Operand> operands = new ArrayList<>(List.of(x.operand(), dy.operand()));
        parameters.all().forEach(p -> operands.add(p.value().operand()));
        return operands.toArray(Operand[]::new);
    }

    /** Of what has a gradient, in the order of the gradients among the results. */
    List<String> names() {
        List<String> names = new ArrayList<>(List.of("the input"));
        parameters.all().forEach(p -> names.add(p.name()));
        return names;
    }

    void run() {
        step(false);
    }

    private void step(boolean keep) {
        try (Scope scope = device.scope().open()) {
            parameters.zeroGradients();
            Tape tape = Tape.on(scope);
            Tensor input = tape.watch(x);
            Tensor result = block.forward(Pass.training(tape, new RandomKey(1, 0, 0)), input);
            if (keep) {
                y.copyFrom(result.detach());
            }
            tape.backward(result, dy);
            if (keep) {
                dx.copyFrom(tape.gradient(input));
            }
        }
    }

    /** Result, gradient of the input, gradients of the parameters. */
    List<float[]> results() {
        step(true);
        List<float[]> results = new ArrayList<>(List.of(y.toArray(), dx.toArray()));
        parameters.all().stream().map(Parameter::gradient).map(Tensor::toArray).forEach(results::add);
        return results;
    }

    @Override
    public void close() {
        device.close();
    }
}
