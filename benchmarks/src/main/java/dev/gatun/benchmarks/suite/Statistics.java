// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.ToDoubleFunction;

/** Medians, and how far they can be trusted. */
final class Statistics {
    private static final int RESAMPLES = 2000;

    private Statistics() {}

    /**
     * A median with its 95 % confidence interval.
     */
    record Estimate(double median, double low, double high) {}

    static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int middle = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /** The median; its interval by the percentile bootstrap over rounds, always with the same resamples. */
    static Estimate median95(double[] rounds) {
        return bootstrap(rounds.length, picked -> median(Arrays.stream(picked).mapToDouble(i -> rounds[i]).toArray()));
    }

    /** The median over rounds of other/ours: both of one round, so that what slows the machine for a while cancels. */
    static Estimate ratio(double[] other, double[] ours) {
        double[] ratios = new double[ours.length];
        Arrays.setAll(ratios, i -> other[i] / ours[i]);
        return median95(ratios);
    }

    private static Estimate bootstrap(int rounds, ToDoubleFunction<int[]> statistic) {
        SplittableRandom random = new SplittableRandom(1);
        double[] resampled = new double[RESAMPLES];
        int[] picked = new int[rounds];
        for (int i = 0; i < RESAMPLES; i++) {
            Arrays.setAll(picked, j -> random.nextInt(rounds));
            resampled[i] = statistic.applyAsDouble(picked);
        }
        Arrays.sort(resampled);
        int tail = (int) (0.025 * RESAMPLES);
        Arrays.setAll(picked, j -> j);
        return new Estimate(statistic.applyAsDouble(picked), resampled[tail], resampled[RESAMPLES - 1 - tail]);
    }
}
