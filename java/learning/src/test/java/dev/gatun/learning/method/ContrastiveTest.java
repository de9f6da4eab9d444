// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import static dev.gatun.learning.method.MethodRun.B;
import static dev.gatun.learning.method.MethodRun.global;
import static dev.gatun.learning.method.MethodRun.local;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.data.View;
import dev.gatun.data.ViewRole;
import dev.gatun.learning.Method;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** SimCLR and SupCon on embeddings of the test's choice: the pixels of an image are its embedding, and the head changes nothing. */
class ContrastiveTest {
    private static final float TEMPERATURE = .2f;
    private static final int SIDE = 5;
    private static final int D = SIDE * SIDE;

    private static final int[] UNIQUE = IntStream.range(0, B).toArray();

    private final Device device = Device.cpu(1);

    @AfterEach
    void close() {
        device.close();
    }

    private static Encoder flatten(Parameters parameters) {
        return new Encoder() {
            @Override
            public int features() {
                return D;
            }

            @Override
            public Tensor forward(Pass pass, Tensor x) {
                return x.reshape(x.size(0), -1);
            }
        };
    }

    private <M extends Method> MethodRun<M> run(M method) {
        MethodRun<M> run = new MethodRun<>(device, method, ContrastiveTest::flatten, B, B, global(SIDE), global(SIDE));
        Tensor weight = tensor(run, "head.0.weight").zero();
        for (int d = 0; d < D; d++) {
            weight.slice(0, d, d + 1).slice(1, d, d + 1).fill(1f);
        }
        return run;
    }

    private MethodRun<SupCon> supCon() {
        MethodRun<SupCon> run = run(new SupCon(new SupConProvider.Settings(List.of(), D, TEMPERATURE)));
        tensor(run, "head.0.bias").zero();
        return run;
    }

    private MethodRun<SimClr> simClr() {
        MethodRun<SimClr> run = run(new SimClr(new SimClrProvider.Settings(List.of(), D, false, TEMPERATURE)));
        tensor(run, "head.0.bias").zero();
        return run;
    }

    private static Tensor tensor(MethodRun<?> run, String name) {
        return run.parameters.all().stream().filter(p -> p.name().equals(name)).findFirst().orElseThrow().value();
    }

    private static Batch batch(Scope scope, float[][] first, float[][] second, int[] labels) {
        return new Batch(LongStream.range(0, labels.length).toArray(), List.of(view(scope, first), view(scope, second)), labels);
    }

    private static View view(Scope scope, float[][] rows) {
        float[] all = new float[rows.length * D];
        for (int i = 0; i < rows.length; i++) {
            System.arraycopy(rows[i], 0, all, i * D, D);
        }
        return new View("global", SIDE, scope.of(all, rows.length, SIDE, SIDE, 1));
    }

    private float loss(boolean labelled, float[][] first, float[][] second, int[] labels) {
        Function<Scope, Batch> batches = scope -> batch(scope, first, second, labels);
        return labelled ? supCon().loss(0, batches) : simClr().loss(0, batches);
    }

    private static float[][] orthogonal() {
        float[][] rows = new float[B][D];
        for (int i = 0; i < B; i++) {
            rows[i][i] = 1 + i; // the length does not count
        }
        return rows;
    }

    private static float[][] random(long seed, int rows) {
        SplittableRandom random = new SplittableRandom(seed);
        float[][] values = new float[rows][D];
        for (float[] row : values) {
            for (int d = 0; d < D; d++) {
                row[d] = (float) random.nextGaussian();
            }
        }
        return values;
    }

    @Test
    void twinsThatAreEqualAndAllOthersOrthogonal() {
        double expected = 2 * Math.log(1 + (2 * B - 2) * Math.exp(-1 / TEMPERATURE));
        assertEquals(expected, loss(false, orthogonal(), orthogonal(), UNIQUE), 1e-5);
        // of scores that are all equal nothing can be told
        float[][] equal = new float[B][D];
        for (float[] row : equal) {
            Arrays.fill(row, -3);
        }
        assertEquals(2 * Math.log(2 * B - 1), loss(false, equal, equal, UNIQUE), 1e-5);
    }

    /** The mean over rows with a positive; a negative label has none. */
    private static double naive(float[][] first, float[][] second, int[] labels) {
        int n = labels.length;
        double[][] z = new double[2 * n][];
        for (int i = 0; i < 2 * n; i++) {
            float[] row = i < n ? first[i] : second[i - n];
            double length = Math.sqrt(IntStream.range(0, D).mapToDouble(d -> (double) row[d] * row[d]).sum());
            z[i] = IntStream.range(0, D).mapToDouble(d -> row[d] / length).toArray();
        }
        double loss = 0;
        int anchors = 0;
        for (int i = 0; i < 2 * n; i++) {
            double sum = 0;
            double positive = 0;
            int positives = 0;
            for (int j = 0; j < 2 * n; j++) {
                if (i == j) {
                    continue;
                }
                double score = 0;
                for (int d = 0; d < D; d++) {
                    score += z[i][d] * z[j][d] / TEMPERATURE;
                }
                sum += Math.exp(score);
                if (labels[i % n] >= 0 && labels[i % n] == labels[j % n]) {
                    positive += score;
                    positives++;
                }
            }
            if (positives > 0) {
                loss += Math.log(sum) - positive / positives;
                anchors++;
            }
        }
        return loss / Math.max(1, anchors);
    }

    @Test
    void theLossesAreTheirFormulasInDouble() {
        float[][] first = random(1, B);
        float[][] second = random(2, B);
        double simclr = 2 * naive(first, second, UNIQUE);
        // sums of D products, amplified by 1 / temperature
        double bound = 2 * D * Math.ulp(1f) / TEMPERATURE;
        assertEquals(simclr, loss(false, first, second, UNIQUE), bound);
        int[] labels = IntStream.range(0, B).map(i -> i % 7 == 6 ? -1 : i % 4).toArray();
        double supcon = naive(first, second, labels);
        assertEquals(supcon, loss(true, first, second, labels), bound);
        assertTrue(Math.abs(supcon - simclr / 2) > 10 * bound, "labels count");
        // SimCLR does not see them
        assertEquals(simclr, loss(false, first, second, labels), bound);
    }

    @Test
    void uniqueLabelsGiveHalfOfSimClr() {
        float[][] first = random(3, B);
        float[][] second = random(4, B);
        assertEquals(loss(false, first, second, UNIQUE) / 2, loss(true, first, second, UNIQUE), 1e-5);
    }

    @Test
    void aSampleWithoutALabelIsANegativeOnly() {
        int[] none = new int[B];
        Arrays.fill(none, -1);
        float[][] first = random(5, B);
        float[][] second = random(6, B);
        assertEquals(0, loss(true, first, second, none));
        int[] one = none.clone();
        one[3] = 2;
        double twins = naive(first, second, one);
        assertEquals(twins, loss(true, first, second, one), 1e-5, "its own views, against all others");
        int[] two = one.clone();
        two[9] = 2;
        assertFalse(Math.abs(twins - loss(true, first, second, two)) < 1e-3, "a class of two");
    }

    /** In double, by central differences of the naive loss: with one side constant the gradient would be another. */
    @Test
    void theGradientFlowsThroughBothSides() {
        int n = 3;
        float[][] first = random(7, n);
        float[][] second = random(8, n);
        int[] labels = {0, 1, 2};
        MethodRun<SupCon> run = supCon();
        try (Scope scope = device.scope().open()) {
            Step step = run.step(scope, 0);
            Tape tape = step.tape();
            Batch batch = batch(scope, first, second, labels);
            List<Tensor> images = batch.views().stream().map(View::images).map(tape::watch).toList();
            Batch watched = new Batch(batch.ids(), images.stream().map(x -> new View("global", SIDE, x)).toList(), labels);
            tape.backward(run.method.loss(watched, step));
            for (int v = 0; v < 2; v++) {
                float[] gradient = tape.gradient(images.get(v)).toArray();
                float[][] moved = v == 0 ? first : second;
                for (int i = 0; i < n; i++) {
                    for (int d = 0; d < D; d += 4) {
                        float at = moved[i][d];
                        moved[i][d] = at + 1f / 256;
                        double up = naive(first, second, labels);
                        moved[i][d] = at - 1f / 256;
                        double down = naive(first, second, labels);
                        moved[i][d] = at;
                        double slope = (up - down) / (moved[i][d] + 1f / 256 - (moved[i][d] - 1f / 256));
                        assertEquals(slope, gradient[i * D + d], 1e-4, "view " + v + ", row " + i + ", " + d);
                    }
                }
            }
        }
    }

    private static final ViewRole[] VIEWS = {global(4), global(4), local(3)};

    @Test
    void theRealHeadsAreWhatThePapersSay() {
        var simclr = new MethodRun<>(device, new SimClr(new SimClrProvider.Settings(List.of(8), 6, true, .1f)), VIEWS);
        // batch norm on the output too, and no bias before one
        assertEquals(
                List.of("head.0.weight", "head.1.weight", "head.1.bias", "head.3.weight", "head.4.weight", "head.4.bias"),
                simclr.parameters.all().stream().map(p -> p.name()).toList());
        var supcon = new MethodRun<>(device, new SupCon(new SupConProvider.Settings(List.of(8), 6, .1f)), VIEWS);
        assertEquals(
                List.of("head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"),
                supcon.parameters.all().stream().map(p -> p.name()).toList());
        assertFalse(simclr.method.usesLabels());
        assertTrue(supcon.method.usesLabels());
        var refused = assertThrows(IllegalArgumentException.class,
                () -> new MethodRun<>(device, new SimClr(new SimClrProvider.Settings()), global(4)));
        assertTrue(refused.getMessage().contains("needs two views or more"), refused.getMessage());
    }

    @Test
    void anEncoderThatTellsNothingHasTheUninformedLoss() {
        var run = new MethodRun<>(device, new SimClr(new SimClrProvider.Settings(List.of(8), 6, true, 1e4f)), global(4), global(4));
        // at a huge temperature all scores are equal
        assertEquals(run.loss(0, 1), run.metrics.get(Step.UNINFORMED_LOSS), 1e-3);
        double spread = run.metrics.get(Step.SPREAD);
        assertTrue(spread > .1 && spread <= 1.001, "spread " + spread);
    }
}
