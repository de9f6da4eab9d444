// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.tensor.Device;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class EvaluationTest {
    private Device device = Device.cpu(2);

    @AfterEach
    void close() {
        device.close();
    }

    private Features clusters(int count, int width, int classes, double noise, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        SplittableRandom centres = new SplittableRandom(99);
        double[][] centre = new double[classes][width];
        for (double[] row : centre) {
            for (int j = 0; j < width; j++) {
                row[j] = centres.nextGaussian();
            }
        }
        float[] values = new float[count * width];
        int[] labels = new int[count];
        for (int i = 0; i < count; i++) {
            labels[i] = i % classes;
            for (int j = 0; j < width; j++) {
                values[i * width + j] = (float) (centre[labels[i]][j] + noise * random.nextGaussian());
            }
        }
        return new Features(device.scope().of(values, count, width), labels, classes);
    }

    @Test
    void neighboursAreThoseOfANaiveSearchInDouble() {
        // more rows than one block of either side, so that blocks are merged
        int k = 9;
        int width = 7;
        Features bank = clusters(5003, width, 5, 1, 1);
        Features queries = clusters(601, width, 5, 1, 2);
        Neighbours found = Neighbours.search(bank.values(), queries.values(), k);
        float[] a = bank.values().toArray();
        float[] b = queries.values().toArray();
        for (int q = 0; q < queries.count(); q += 37) {
            double[] cosines = new double[bank.count()];
            for (int i = 0; i < bank.count(); i++) {
                cosines[i] = cosine(a, i * width, b, q * width, width);
            }
            int[] order = IntStream.range(0, bank.count())
                    .boxed()
                    .sorted(Comparator.comparingDouble((Integer i) -> -cosines[i]))
                    .mapToInt(Integer::intValue)
                    .toArray();
            // a unit vector's rounding twice and that of a dot product of 7 terms: neighbours this near to each other may swap
            double rounding = (width + 4) * Math.ulp(1f);
            for (int j = 0; j < k; j++) {
                assertEquals(cosines[order[j]], cosines[found.indices(q)[j]], rounding);
                assertEquals(cosines[found.indices(q)[j]], found.cosines(q)[j], rounding);
            }
            assertEquals(k, IntStream.of(found.indices(q)).distinct().count());
        }
    }

    private static double cosine(float[] a, int i, float[] b, int q, int width) {
        double dot = 0;
        double x = 0;
        double y = 0;
        for (int j = 0; j < width; j++) {
            dot += (double) a[i + j] * b[q + j];
            x += (double) a[i + j] * a[i + j];
            y += (double) b[q + j] * b[q + j];
        }
        return dot / Math.sqrt(x * y);
    }

    @Test
    void equalNeighboursComeInTheOrderOfTheBank() {
        Features bank = new Features(device.scope().of(new float[] {0, 1, 1, 0, 1, 0, 2, 0}, 4, 2), new int[4], 1);
        Features query = new Features(device.scope().of(new float[] {5, 0}, 1, 2), new int[1], 1);
        assertArrayEquals(new int[] {1, 2, 3}, Neighbours.search(bank.values(), query.values(), 3).indices(0));
    }

    @Test
    void theVoteIsWeightedByCosine() {
        // two far neighbours of class 1 against one near neighbour of class 0: at a low temperature the near one wins
        Features bank = new Features(
                device.scope().of(new float[] {1, 0, 1, 1, 1, -1}, 3, 2), new int[] {0, 1, 1}, 2);
        Features test = new Features(device.scope().of(new float[] {1, 0}, 1, 2), new int[] {0}, 2);
        assertEquals(1, Knn.accuracy(bank, test, 3, .07));
        assertEquals(0, Knn.accuracy(bank, test, 3, 10));
    }

    @Test
    void theVoteAndTheProbesSolveWhatIsEasyAndNotWhatIsRandom() {
        Features train = clusters(1500, 16, 5, .5, 1);
        Features test = clusters(500, 16, 5, .5, 2);
        assertTrue(Knn.accuracy(train, test, 20, .07) > .97);
        assertTrue(LinearProbe.accuracy(train, test, 12, 2e-2, 64, 1) > .97);
        assertTrue(LinearProbe.fewShot(train, test, 10, 100, 2e-2, 64, 1) > .9);
        SplittableRandom random = new SplittableRandom(4);
        Features noise = new Features(train.values(), IntStream.range(0, 1500).map(i -> random.nextInt(5)).toArray(), 5);
        assertTrue(Knn.accuracy(noise, test, 20, .07) < .5);
        assertTrue(LinearProbe.accuracy(noise, test, 12, 2e-2, 64, 1) < .5);
    }

    @Test
    void scoresAreTheSameAgainAndForOneThread() {
        double[] scores = hardScores();
        assertArrayEquals(scores, hardScores());
        device.close();
        device = Device.cpu(1);
        assertArrayEquals(scores, hardScores());
    }

    private double[] hardScores() {
        Features train = clusters(700, 16, 5, 2, 1);
        Features test = clusters(300, 16, 5, 2, 2);
        return new double[] {Knn.accuracy(train, test, 20, .07), LinearProbe.accuracy(train, test, 5, 2e-3, 64, 1)};
    }

    @Test
    void samplesWithoutLabelAreLeftOut() {
        Features train = clusters(600, 8, 3, .5, 1);
        Features test = clusters(100, 8, 3, .5, 2);
        int[] some = train.labels().clone();
        for (int i = 0; i < some.length; i += 2) {
            some[i] = -1;
        }
        assertTrue(LinearProbe.accuracy(new Features(train.values(), some, 3), test, 12, 2e-2, 64, 1) > .95);
        assertTrue(Double.isNaN(Knn.accuracy(train, new Features(test.values(), filled(100, -1), 3), 20, .07)));
        assertTrue(Double.isNaN(LinearProbe.accuracy(new Features(train.values(), filled(600, -1), 3), test, 1, 1, 64, 1)));
    }

    private static int[] filled(int count, int value) {
        int[] labels = new int[count];
        Arrays.fill(labels, value);
        return labels;
    }

    @Test
    void mutualInformationOfKnownClusterings() {
        assertEquals(1, Nmi.of(new int[] {0, 0, 1, 1}, new int[] {1, 1, 0, 0}), 1e-12);
        assertEquals(0, Nmi.of(new int[] {0, 0, 1, 1}, new int[] {0, 1, 0, 1}), 1e-12);
        // I = ln 2, entropies ln 2 and ln 4
        assertEquals(2.0 / 3, Nmi.of(new int[] {0, 0, 1, 1}, new int[] {0, 1, 2, 3}), 1e-12);
    }

    @Test
    void principalComponentsFindTheLongestDirection() {
        SplittableRandom random = new SplittableRandom(1);
        float[] rows = new float[1200];
        double[] along = new double[400];
        for (int i = 0; i < 400; i++) {
            along[i] = 5 * random.nextGaussian();
            double across = random.nextGaussian();
            rows[3 * i] = (float) (along[i] * .6 + across * .8 + 10);
            rows[3 * i + 1] = (float) (along[i] * .8 - across * .6);
            rows[3 * i + 2] = 3;
        }
        float[] projected = Pca.project(device.scope().of(rows, 400, 3), 2).toArray();
        double mean = Arrays.stream(along).average().orElseThrow();
        double dot = 0;
        double a = 0;
        double b = 0;
        for (int i = 0; i < 400; i++) {
            dot += projected[2 * i] * (along[i] - mean);
            a += projected[2 * i] * projected[2 * i];
            b += (along[i] - mean) * (along[i] - mean);
        }
        // its sign is fixed too
        assertTrue(dot / Math.sqrt(a * b) > .99);
    }

    @Test
    void aClassifiersPredictionsAreCountedAndItsSurestMistakesComeFirst() {
        float[] logits = {
            2, 1, 0, // right
            0, 3, 1, // a 0 taken for 1, rather surely
            0, 1, .5f, // a 2 taken for 1, less so
            0, 0, 900, // no label
            -500, 0, 800 // right, where exp would overflow
        };
        int[] labels = {0, 0, 2, -1, 2};
        Classification found = Classification.of(new Features(device.scope().of(logits, 5, 3), labels, 3)).orElseThrow();
        assertEquals(50, found.accuracy());
        double loss = 0;
        for (int i : new int[] {0, 1, 2}) {
            double sum = IntStream.range(0, 3).mapToDouble(c -> Math.exp(logits[3 * i + c])).sum();
            loss += Math.log(sum) - logits[3 * i + labels[i]];
        }
        assertEquals(loss / 4, found.loss(), 1e-12);
        assertArrayEquals(new int[][] {{1, 1, 0}, {0, 0, 0}, {0, 1, 1}}, found.confusion());
        assertEquals(List.of(1, 2), found.mistakes().stream().map(Classification.Mistake::index).toList());
        assertEquals(Math.exp(3) / (1 + Math.exp(3) + Math.exp(1)), found.mistakes().getFirst().probability(), 1e-12);

        // a test label that the training data do not have is wrong, whatever is predicted
        Classification other = Classification.of(new Features(device.scope().of(logits, 5, 3), new int[] {0, 1, 4, -1, 2}, 5)).orElseThrow();
        assertEquals(75, other.accuracy());
        assertEquals(5, other.confusion().length);
        assertEquals(Double.POSITIVE_INFINITY, other.loss());
        assertTrue(Classification.of(new Features(device.scope().of(logits, 5, 3), new int[] {-1, -1, -1, -1, -1}, 3)).isEmpty());
    }
}
