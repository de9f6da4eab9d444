// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

/** Classification by a vote of the k nearest neighbours in cosine, a vote weighing exp(cosine / temperature). */
public final class Knn {
    private Knn() {}

    /**
     * The share of test samples that the vote classifies rightly.
     *
     * @param bank labelled features
     * @param test labelled features of the same width
     * @param k neighbours; at most the bank's size
     * @param temperature of a vote's weight
     * @return in [0, 1]
     */
    public static double accuracy(Features bank, Features test, int k, double temperature) {
        Neighbours neighbours = Neighbours.search(bank.values(), test.values(), Math.min(k, bank.count()));
        int right = 0;
        int scored = 0;
        for (int i = 0; i < test.count(); i++) {
            if (test.labels()[i] >= 0) {
                scored++;
                int vote = vote(neighbours.indices(i), neighbours.cosines(i), bank, temperature);
                right += vote == test.labels()[i] ? 1 : 0;
            }
        }
        return scored == 0 ? Double.NaN : (double) right / scored;
    }

    private static int vote(int[] neighbours, float[] cosines, Features bank, double temperature) {
        double[] votes = new double[bank.classes()];
        for (int j = 0; j < neighbours.length; j++) {
            int label = bank.labels()[neighbours[j]];
            if (label >= 0) {
                // relative to the nearest, so that no temperature overflows
                votes[label] += Math.exp((cosines[j] - cosines[0]) / temperature);
            }
        }
        int best = 0;
        for (int c = 1; c < votes.length; c++) {
            best = votes[c] > votes[best] ? c : best;
        }
        return best;
    }
}
