// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class StatisticsTest {
    @Test
    void theMedianOfOddAndEvenCounts() {
        assertEquals(3, Statistics.median(new double[] {9, 1, 3}));
        assertEquals(2, Statistics.median(new double[] {9, 1, 3, 1}));
    }

    @Test
    void theRatioIsThatOfTheSameRound() {
        // the machine slows down tenfold in half the rounds: the ratio does not move
        double[] ours = {1, 10, 1, 10, 1};
        double[] other = {2, 20, 2, 20, 2};
        Statistics.Estimate ratio = Statistics.ratio(other, ours);
        assertEquals(2, ratio.median());
        assertEquals(2, ratio.low());
        assertEquals(2, ratio.high());
    }

    @Test
    void theIntervalCoversTheTruthAboutAsOftenAsItSays() {
        SplittableRandom random = new SplittableRandom(7);
        int covered = 0;
        int trials = 300;
        for (int trial = 0; trial < trials; trial++) {
            double[] rounds = new double[15];
            Arrays.setAll(rounds, i -> 5 + random.nextGaussian());
            Statistics.Estimate estimate = Statistics.median95(rounds);
            assertTrue(estimate.low() <= estimate.median() && estimate.median() <= estimate.high());
            if (estimate.low() <= 5 && 5 <= estimate.high()) {
                covered++;
            }
        }
        assertTrue(covered > 0.88 * trials && covered < trials, "covered " + covered);
    }
}
