// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.BatchNorm;
import dev.gatun.tensor.layer.Conv2d;
import dev.gatun.tensor.layer.DropPath;
import dev.gatun.tensor.layer.Gelu;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.LayerNorm;
import dev.gatun.tensor.layer.Linear;
import dev.gatun.tensor.layer.MultiHeadAttention;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.Sequential;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What a training step of one residual block costs with stochastic depth: forward and backward, with the gradients of all
 * parameters. One operation is a round of steps, one of each kind. The secondary results are the least processor time of each kind
 * in milliseconds, with one thread, so that a machine shared with others disturbs little but the score itself; and the peaks of
 * memory in megabytes above the block's operands (its input, the gradient of its result, its parameters).
 * {@code docs/stochastic-depth.md} has the ratios.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 1, time = 5)
@Measurement(iterations = 1, time = 30)
public class StochasticDepthBlockBenchmark {
    private static final RandomKey KEY = new RandomKey(1, 2, 3);
    private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

    /** {@code vit}: ViT-Ti's, 64 images of 197 tokens; {@code resnet}: a basic block, 64 images of 28x28x64. */
    @Param({"vit", "resnet"})
    public String block;

    /** The least times and the peaks of one iteration. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.EVENTS)
    public static class Costs {
        public double noneTime;
        public double mask40Time;
        public double subset20Time;
        public double subset40Time;
        public double subset60Time;
        public double noneMemory;
        public double mask40Memory;
        public double subset20Memory;
        public double subset40Memory;
        public double subset60Memory;
    }

    /** A block of one kind, and how long its steps took. */
    private record Kind(Parameters parameters, Layer layer, double peak, List<Double> times) {
        double least() {
            return Collections.min(times);
        }
    }

    private final List<Kind> kinds = new ArrayList<>();
    private Device device;
    private Tensor x;
    private Tensor dy;

    @Setup
    public void setup() {
        device = Device.cpu(1);
        x = normal(device, 1);
        dy = normal(device, 2);
        kinds.add(kind(0, DropPath.Form.MASK));
        kinds.add(kind(.4, DropPath.Form.MASK));
        for (double rate : new double[] {.2, .4, .6}) {
            kinds.add(kind(rate, DropPath.Form.SUBSET));
        }
    }

    private Kind kind(double rate, DropPath.Form form) {
        Parameters parameters = Parameters.create();
        Layer layer = layer(parameters, rate, form);
        parameters.build(device, 5);
        return new Kind(parameters, layer, peak(rate, form), new ArrayList<>());
    }

    /** The peak of one step, on a device of its own: a device knows its largest peak only. */
    private double peak(double rate, DropPath.Form form) {
        try (Device fresh = Device.cpu(1)) {
            Parameters parameters = Parameters.create();
            Layer layer = layer(parameters, rate, form);
            parameters.build(fresh, 5);
            Tensor input = normal(fresh, 1);
            long before = fresh.liveBytes();
            Tensor gradient = normal(fresh, 2);
            long operand = fresh.liveBytes() - before;
            step(fresh, layer, input, gradient);
            // the copy of the gradient that the block may overwrite stands for the one that a network hands over
            return (fresh.peakBytes() - before - 2 * operand) / 1e6;
        }
    }

    private Layer layer(Parameters parameters, double rate, DropPath.Form form) {
        if (block.equals("resnet")) {
            DropPath drop = new DropPath(rate, form, true);
            Layer branch = new Sequential(
                    new Conv2d(parameters.sub("conv1"), 64, 64, 3, 1, 1, 1, false),
                    new BatchNorm(parameters.sub("bn1"), 64, true),
                    new Conv2d(parameters.sub("conv2"), 64, 64, 3, 1, 1, 1, false),
                    new BatchNorm(parameters.sub("bn2"), 64));
            return (pass, in) -> drop.residual(pass, in, branch);
        }
        DropPath drop = new DropPath(rate, form);
        Layer attention = new Sequential(
                new LayerNorm(parameters.sub("norm1"), 192, 1e-6), new MultiHeadAttention(parameters.sub("attn"), 192, 3, true));
        Layer mlp = new Sequential(
                new LayerNorm(parameters.sub("norm2"), 192, 1e-6),
                new Linear(parameters.sub("fc1"), 192, 768, true),
                new Gelu(),
                new Linear(parameters.sub("fc2"), 768, 192, true));
        return (pass, in) -> drop.residual(pass, drop.residual(pass, in, attention), mlp);
    }

    private Tensor normal(Device on, long seed) {
        long[] shape = block.equals("vit") ? new long[] {64, 197, 192} : new long[] {64, 28, 28, 64};
        SplittableRandom random = new SplittableRandom(seed);
        Tensor t = on.scope().empty(shape);
        float[] values = new float[(int) t.elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        t.copyFrom(values);
        return t;
    }

    /** The end of the tape: hands the gradient of its input over as the layers behind a block do, in memory of the sweep. */
    private record Handover(Tensor gradient) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            return c.empty(1);
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {gradient.copy(c.scope())};
        }
    }

    private static void step(Device device, Layer layer, Tensor x, Tensor dy) {
        try (dev.gatun.tensor.Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Tensor y = layer.forward(Pass.training(tape, KEY), tape.watch(x));
            tape.backward(Function.apply(new Handover(dy), y));
        }
    }

    @Setup(Level.Iteration)
    public void forget() {
        kinds.forEach(kind -> kind.times.clear());
    }

    @TearDown
    public void close() {
        device.close();
    }

    @Benchmark
    public void round(Costs costs) {
        for (Kind kind : kinds) {
            kind.parameters.zeroGradients();
            long start = CLOCK.getCurrentThreadCpuTime();
            step(device, kind.layer, x, dy);
            kind.times.add((CLOCK.getCurrentThreadCpuTime() - start) / 1e6);
        }
        costs.noneTime = kinds.get(0).least();
        costs.mask40Time = kinds.get(1).least();
        costs.subset20Time = kinds.get(2).least();
        costs.subset40Time = kinds.get(3).least();
        costs.subset60Time = kinds.get(4).least();
        costs.noneMemory = kinds.get(0).peak;
        costs.mask40Memory = kinds.get(1).peak;
        costs.subset20Memory = kinds.get(2).peak;
        costs.subset40Memory = kinds.get(3).peak;
        costs.subset60Memory = kinds.get(4).peak;
    }
}
