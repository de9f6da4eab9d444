// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import static dev.gatun.learning.method.MethodRun.B;
import static dev.gatun.learning.method.MethodRun.global;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.learning.Blocks;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Pass;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CosubTest {
    private static final int CLASSES = 5;
    private static final int WIDTH = 8;

    private static final long[] IDS = LongStream.range(0, B).toArray();

    // every fifth sample has no label
    private static final int[] LABELS = IntStream.range(0, B).map(i -> i % 5 == 4 ? -1 : i * 7 % CLASSES).toArray();

    private final Device device = Device.cpu(1);

    /** What the encoder saw and gave in its last pass. */
    private final List<Tensor> encoded = new ArrayList<>();

    @AfterEach
    void close() {
        device.close();
    }

    private MethodRun<Cosub> run(String loss, float weight, double drop, String form) {
        return new MethodRun<>(device, new Cosub(new CosubProvider.Settings(loss, weight)), into -> {
            var blocks = new Blocks().create(new Blocks.Settings(WIDTH, drop, form), into, new long[] {4, 4, 1});
            return new dev.gatun.tensor.layer.Encoder() {
                @Override
                public int features() {
                    return WIDTH;
                }

                @Override
                public Tensor forward(Pass pass, Tensor x) {
                    Tensor y = blocks.forward(pass, x);
                    encoded.clear();
                    encoded.add(x.copy(device.scope()));
                    encoded.add(y.detach().copy(device.scope()));
                    return y;
                }
            };
        }, B, CLASSES, global(4));
    }

    @Test
    void viewsThatAreNotLearntFromAreToldOf() {
        assertEquals(List.of(), run("bce", .5f, .2, "MASK").warnings);
        var cosub = new Cosub(new CosubProvider.Settings("bce", .5f));
        assertEquals(List.of("cosub learns from the first of a sample's 2 views only"),
                new MethodRun<>(device, cosub, null, B, CLASSES, global(4), global(4)).warnings);
    }

    private static Function<Scope, Batch> batch(MethodRun<?> run, int[] labels) {
        return scope -> run.batch(scope, 3, IDS, labels);
    }

    private static Tensor tensor(MethodRun<?> run, String name) {
        return run.parameters.tensors().stream()
                .filter(t -> t.name().equals(name)).map(NamedTensor::tensor).findFirst().orElseThrow();
    }

    /** The logits of the 2B rows of the last pass, in double. */
    private double[][] logits(MethodRun<?> run) {
        float[] x = encoded.get(1).toArray();
        float[] w = tensor(run, "head.weight").toArray();
        float[] bias = tensor(run, "head.bias").toArray();
        double[][] logits = new double[2 * B][CLASSES];
        for (int i = 0; i < 2 * B; i++) {
            for (int k = 0; k < CLASSES; k++) {
                logits[i][k] = bias[k];
                for (int d = 0; d < WIDTH; d++) {
                    logits[i][k] += (double) x[i * WIDTH + d] * w[k * WIDTH + d];
                }
            }
        }
        return logits;
    }

    /** What a row predicts: probabilities of the classes, or of each class on its own. */
    private static double[] predicted(String loss, double[] logits) {
        if (loss.equals("bce")) {
            return Arrays.stream(logits).map(x -> 1 / (1 + Math.exp(-x))).toArray();
        }
        double sum = Arrays.stream(logits).map(Math::exp).sum();
        return Arrays.stream(logits).map(x -> Math.exp(x) / sum).toArray();
    }

    /** Of a row, as the paper's formulas say it. */
    private static double crossEntropy(String loss, double[] target, double[] logits) {
        double[] p = predicted(loss, logits);
        double sum = 0;
        for (int k = 0; k < p.length; k++) {
            sum -= target[k] * Math.log(p[k]);
            sum -= loss.equals("bce") ? (1 - target[k]) * Math.log(1 - p[k]) : 0;
        }
        return loss.equals("bce") ? sum / p.length : sum;
    }

    private static double[] oneHot(int label) {
        return IntStream.range(0, CLASSES).mapToDouble(k -> k == label ? 1 : 0).toArray();
    }

    private static double hard(String loss, double[][] logits, int from, int[] labels) {
        return IntStream.range(0, B).filter(i -> labels[i] >= 0)
                .mapToDouble(i -> crossEntropy(loss, oneHot(labels[i]), logits[from + i])).average().orElse(0);
    }

    private static double soft(String loss, double[][] logits, int from, int other) {
        return IntStream.range(0, B)
                .mapToDouble(i -> crossEntropy(loss, predicted(loss, logits[other + i]), logits[from + i])).average().orElseThrow();
    }

    private static double naive(String loss, double weight, double[][] logits, int[] labels) {
        return (1 - weight) / 2 * (hard(loss, logits, 0, labels) + hard(loss, logits, B, labels))
                + weight / 2 * (soft(loss, logits, 0, B) + soft(loss, logits, B, 0));
    }

    @ParameterizedTest
    @CsvSource({"bce,0,MASK", "bce,.5,MASK", "softmax,.5,MASK", "softmax,.3,SUBSET", "bce,.3,SUBSET"})
    void theLossIsTheFormulaInDouble(String loss, double drop, String form) {
        for (float weight : new float[] {0, .25f, .5f, 1}) {
            MethodRun<Cosub> run = run(loss, weight, drop, form);
            float found = run.loss(0, batch(run, LABELS));
            double expected = naive(loss, weight, logits(run), LABELS);
            double bound = 2 * WIDTH * Math.ulp((float) expected);
            assertEquals(expected, found, bound, "weight " + weight);
            assertTrue(Math.abs(naive(loss, weight + .1, logits(run), LABELS) - found) > 4 * bound, "the weight counts");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"bce", "softmax"})
    void withoutDropsTheSubmodelsAreEqualAndTheirTermIsTheEntropy(String loss) {
        MethodRun<Cosub> run = run(loss, 1, 0, "MASK");
        float found = run.loss(0, batch(run, LABELS));
        assertEquals(0, run.metrics.get("submodel_distance"));
        double[][] logits = logits(run);
        double entropy = 0;
        for (int i = 0; i < B; i++) {
            assertArrayEquals(logits[i], logits[B + i]);
            for (double p : predicted(loss, logits[i])) {
                entropy -= loss.equals("bce") ? (p * Math.log(p) + (1 - p) * Math.log(1 - p)) / CLASSES / B : p * Math.log(p) / B;
            }
        }
        assertEquals(entropy, found, 2 * WIDTH * Math.ulp((float) entropy));
    }

    @ParameterizedTest
    @CsvSource({"MASK", "SUBSET"})
    void dropsMakeTwoSubmodelsOfTheSameImages(String form) {
        MethodRun<Cosub> run = run("softmax", .5f, .5, form);
        run.loss(0, batch(run, LABELS));
        float[] images = encoded.get(0).toArray();
        assertArrayEquals(Arrays.copyOf(images, images.length / 2), Arrays.copyOfRange(images, images.length / 2, images.length));
        double[][] logits = logits(run);
        long differ = IntStream.range(0, B).filter(i -> !Arrays.equals(logits[i], logits[B + i])).count();
        // two blocks draw the same for both rows in (1/2)^2 of the images
        assertTrue(differ > B / 2 && differ < B, differ + " of " + B);
        double distance = IntStream.range(0, B * CLASSES)
                .mapToDouble(i -> Math.pow(logits[i / CLASSES][i % CLASSES] - logits[B + i / CLASSES][i % CLASSES], 2))
                .average().orElseThrow();
        assertEquals(1, run.metrics.get("submodel_distance") / distance, 1e-5);
    }

    /** The gradient tells what the loss does not: each submodel's prediction is a constant for the other. */
    @ParameterizedTest
    @ValueSource(strings = {"bce", "softmax"})
    void theOtherSubmodelIsAConstantTeacher(String loss) {
        float weight = .75f;
        MethodRun<Cosub> run = run(loss, weight, .5, "MASK");
        run.loss(0, batch(run, LABELS));
        double[][] logits = logits(run);
        float[] x = encoded.get(1).toArray();
        long labelled = Arrays.stream(LABELS).filter(y -> y >= 0).count();
        double[] expected = new double[CLASSES * WIDTH];
        double moving = 0;
        for (int i = 0; i < 2 * B; i++) {
            double[] p = predicted(loss, logits[i]);
            double[] q = predicted(loss, logits[(i + B) % (2 * B)]);
            int label = LABELS[i % B];
            for (int k = 0; k < CLASSES; k++) {
                double g = weight / 2 * (p[k] - q[k]) / B;
                g += label < 0 ? 0 : (1 - weight) / 2 * (p[k] - (k == label ? 1 : 0)) / labelled;
                g /= loss.equals("bce") ? CLASSES : 1;
                for (int d = 0; d < WIDTH; d++) {
                    expected[k * WIDTH + d] += g * x[i * WIDTH + d];
                }
                moving = Math.max(moving, Math.abs(p[k] - q[k]));
            }
        }
        assertTrue(moving > .05, "the submodels differ: " + moving);
        float[] found = run.parameters.all().stream()
                .filter(p -> p.name().equals("head.weight")).findFirst().orElseThrow().gradient().toArray();
        double largest = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        for (int i = 0; i < found.length; i++) {
            assertEquals(expected[i], found[i], 2 * B * Math.ulp((float) largest));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"bce", "softmax"})
    void aBatchWithoutLabelsLearnsFromTheOtherSubmodelOnly(String loss) {
        int[] none = new int[B];
        Arrays.fill(none, -1);
        MethodRun<Cosub> labels = run(loss, 0, .5, "MASK");
        assertEquals(0, labels.loss(0, batch(labels, none)));
        for (float g : labels.parameters.gradients().toArray()) {
            assertEquals(0, g);
        }
        MethodRun<Cosub> both = run(loss, .5f, .5, "MASK");
        float found = both.loss(0, batch(both, none));
        assertTrue(found > 0);
        assertEquals(naive(loss, .5, logits(both), none), found, 2 * WIDTH * Math.ulp(found));
    }

    @Test
    void predictionsAreThoseOfTheWholeNetwork() {
        MethodRun<Cosub> run = run("bce", .5f, .5, "MASK");
        assertTrue(run.method.usesLabels());
        try (Scope scope = device.scope().open()) {
            Tensor features = scope.of(new float[2 * WIDTH], 2, WIDTH);
            assertArrayEquals(new long[] {2, CLASSES}, run.method.logits(Pass.inference(scope), features).shape());
        }
        assertThrows(IllegalArgumentException.class, () -> new CosubProvider.Settings("hinge", .5f));
    }
}
