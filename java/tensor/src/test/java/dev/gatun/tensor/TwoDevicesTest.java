// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.function.Attention;
import dev.gatun.tensor.function.BatchNorm;
import dev.gatun.tensor.function.Convolution;
import dev.gatun.tensor.function.CrossEntropy;
import dev.gatun.tensor.function.Extremes;
import dev.gatun.tensor.function.GatherRows;
import dev.gatun.tensor.function.GroupNorm;
import dev.gatun.tensor.function.InfoNce;
import dev.gatun.tensor.function.Kmeans;
import dev.gatun.tensor.function.LayerNorm;
import dev.gatun.tensor.function.RunningStatistics;
import dev.gatun.tensor.function.StochasticDepth;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A program may use several devices, also from several threads; an operation on tensors of two is one error. */
class TwoDevicesTest {
    private static final Map<String, BiConsumer<Scope, Scope>> OPERATIONS = new LinkedHashMap<>();

    private static Tensor square(Scope s) {
        return s.full(1, 8, 8);
    }

    private static Tensor ints(Scope s) {
        return s.ofInts(new int[8]);
    }

    static {
        OPERATIONS.put("add", (a, b) -> square(a).add(square(b)));
        OPERATIONS.put("broadcast", (a, b) -> square(a).mul(b.full(1, 8)));
        OPERATIONS.put("concat", (a, b) -> Tensor.concat(0, square(a), square(b)));
        OPERATIONS.put("matmul", (a, b) -> square(a).matmul(square(b)));
        OPERATIONS.put("matmulTransposed", (a, b) -> square(a).matmulTransposed(square(b)));
        OPERATIONS.put("linear, weight", (a, b) -> square(a).linear(square(b), a.full(1, 8)));
        OPERATIONS.put("linear, bias", (a, b) -> square(a).linear(square(a), b.full(1, 8)));
        OPERATIONS.put("copyFrom", (a, b) -> square(a).copyFrom(square(b)));
        OPERATIONS.put("larger", (a, b) -> Extremes.larger(a.full(1, 1), b.full(1, 1)));
        OPERATIONS.put("layer norm, gamma", (a, b) -> LayerNorm.apply(square(a), b.full(1, 8), a.full(1, 8), 1e-5));
        OPERATIONS.put("layer norm, beta", (a, b) -> LayerNorm.apply(square(a), a.full(1, 8), b.full(1, 8), 1e-5));
        OPERATIONS.put("group norm", (a, b) -> GroupNorm.apply(a.full(1, 2, 2, 2, 8), 4, b.full(1, 8), a.full(1, 8), 1e-5));
        OPERATIONS.put("batch norm, inference", (a, b) ->
                BatchNorm.inference(
                        square(a), a.full(1, 8), a.full(0, 8), new RunningStatistics(b.full(0, 8), a.full(1, 8), .1f, 1e-5), false));
        OPERATIONS.put("convolution", (a, b) ->
                Convolution.apply(a.full(1, 1, 4, 4, 2), b.full(1, 3, 3, 3, 2), dev.gatun.primitives.Convolution.Geometry.of(1, 1)));
        OPERATIONS.put("cross entropy, indices", (a, b) -> CrossEntropy.apply(square(a), ints(b)));
        OPERATIONS.put("cross entropy, probabilities", (a, b) -> CrossEntropy.apply(square(a), square(b)));
        OPERATIONS.put("gather rows", (a, b) -> GatherRows.apply(square(a), ints(b)));
        OPERATIONS.put("info nce, keys", (a, b) -> InfoNce.apply(square(a), square(b), ints(a), ints(a), .1f));
        OPERATIONS.put("info nce, groups", (a, b) -> InfoNce.apply(square(a), square(a), ints(a), ints(b), .1f));
        OPERATIONS.put("attention", (a, b) ->
                Attention.apply(a.full(1, 1, 1, 4, 8), b.full(1, 1, 1, 4, 8), a.full(1, 1, 1, 4, 8), 1, false));
        OPERATIONS.put("attention, offsets", (a, b) -> Attention.selfRagged(a.full(1, 4, 24), b.ofInts(new int[] {0, 4}), 1));
        OPERATIONS.put("k-means", (a, b) -> Kmeans.assign(square(a), square(b), false));
        OPERATIONS.put("mask", (a, b) -> StochasticDepth.mask(a, new RandomKey(1, 1, 1), b.ofLongs(new long[4]), .5));
    }

    private static Device device(String name) {
        return name.equals("cpu") ? Device.cpu(1) : Device.emulated();
    }

    @ParameterizedTest
    @CsvSource({"cpu, emulated", "emulated, cpu", "emulated, emulated"})
    void everyOperationRefusesThem(String one, String other) {
        try (Device first = device(one);
                Device second = device(other);
                Scope a = first.scope().open();
                Scope b = second.scope().open()) {
            List<String> wrong = new ArrayList<>();
            OPERATIONS.forEach((name, operation) -> {
                try {
                    operation.accept(a, b);
                    wrong.add(name + ": allowed");
                } catch (RuntimeException e) {
                    String message = String.valueOf(e.getMessage());
                    boolean told = e instanceof TensorException && message.contains("tensors of two devices in one operation: ")
                            || e instanceof GatunException && message.matches(".* is (memory of|no device memory).*, the stream is of device .*");
                    if (!told || message.contains("\n")) {
                        wrong.add(name + ": " + e);
                    }
                }
            });
            assertTrue(wrong.isEmpty(), () -> String.join("\n", wrong));
            // and both go on
            assertArrayEquals(new float[] {2, 2}, a.full(1, 2).add(1).toArray());
            assertArrayEquals(new float[] {3, 3}, b.full(2, 2).add(1).toArray());
        }
    }

    @Test
    void twoThreadsEachWithADevice() throws Exception {
        for (GatunContext.Late late : new GatunContext.Late[] {GatunContext.Late.NONE, GatunContext.Late.ALL}) {
            try (ExecutorService threads = Executors.newFixedThreadPool(3)) {
                List<Future<float[]>> results = new ArrayList<>();
                for (int t = 0; t < 3; t++) {
                    int seed = t;
                    results.add(threads.submit(() -> train(late, seed)));
                }
                for (int t = 0; t < 3; t++) {
                    assertArrayEquals(train(GatunContext.Late.NONE, t), results.get(t).get());
                }
            }
        }
    }

    /** A little of everything: values up, products, a tape, memory that is used again, values down. */
    private static float[] train(GatunContext.Late late, int seed) {
        try (Device device = Device.emulated(0, late)) {
            Tensor weight = device.scope().full(.1f * (seed + 1), 8, 8);
            for (int step = 0; step < 4; step++) {
                try (Scope work = device.scope().open()) {
                    float[] values = new float[16];
                    java.util.Arrays.fill(values, seed + step);
                    Tape tape = Tape.on(work);
                    Tensor w = tape.watch(work.attach(weight));
                    Tensor loss = work.of(values, 2, 8).matmul(w).square().mean();
                    tape.backward(loss);
                    weight.copyFrom(weight.sub(tape.gradient(w).mul(.001f)));
                    loss.item();
                }
            }
            return weight.toArray();
        }
    }
}
