// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import dev.gatun.tensor.optimizer.Schedule;

/**
 * The {@code schedule} section: how long, and the course of the learning rate from the optimizer's base rate.
 *
 * @param name {@code cosine} (linear warm-up, then half a cosine), {@code one_cycle} (up and down by cosines) or {@code constant}
 * @param epochs passes over the data; at least 1
 * @param steps updates of the run, for one that must end inside an epoch; 0: as many as the epochs have
 * @param warmupEpochs cosine: length of the warm-up in epochs; may be a fraction
 * @param start cosine: the rate at step 0 as a part of the base rate, if there is a warm-up
 * @param end cosine: the rate at the end as a part of the base rate
 * @param rise one_cycle: the part of the run in which the rate rises
 */
public record ScheduleSettings(String name, int epochs, long steps, double warmupEpochs, double start, double end, double rise) {
    /** Ten epochs of a plain cosine. */
    public ScheduleSettings() {
        this("cosine", 10, 0, 0, 0, 0, .3);
    }

    /** Checks the values. */
    public ScheduleSettings {
        if (!name.equals("cosine") && !name.equals("one_cycle") && !name.equals("constant")) {
            throw new IllegalArgumentException("name: no schedule " + name + "; known schedules: cosine, one_cycle, constant");
        }
        if (epochs < 1) {
            throw new IllegalArgumentException("epochs: expected at least 1, got " + epochs);
        }
        if (steps < 0) {
            throw new IllegalArgumentException("steps: expected at least 1, or 0 for whole epochs, got " + steps);
        }
        if (warmupEpochs < 0 || steps == 0 && warmupEpochs > epochs) {
            throw new IllegalArgumentException("warmup_epochs: expected 0 to epochs, got " + warmupEpochs);
        }
        if (start < 0 || end < 0) {
            throw new IllegalArgumentException("start, end: expected parts of the base rate, got " + start + " and " + end);
        }
        if (!(rise > 0 && rise < 1)) {
            throw new IllegalArgumentException("rise: expected a part of the run between 0 and 1, got " + rise);
        }
    }

    /**
     * The same course over another length.
     *
     * @param steps updates of the run
     */
    public ScheduleSettings withSteps(long steps) {
        return new ScheduleSettings(name, epochs, steps, warmupEpochs, start, end, rise);
    }

    /**
     * Updates of the whole run.
     *
     * @param stepsPerEpoch updates an epoch
     */
    public long steps(long stepsPerEpoch) {
        return steps > 0 ? steps : stepsPerEpoch * epochs;
    }

    /**
     * Epochs of the whole run, the last one begun included.
     *
     * @param stepsPerEpoch updates an epoch
     */
    public int epochs(long stepsPerEpoch) {
        return Math.toIntExact((steps(stepsPerEpoch) + stepsPerEpoch - 1) / stepsPerEpoch);
    }

    /**
     * The learning rate by global step.
     *
     * @param base the optimizer's rate
     * @param stepsPerEpoch updates an epoch
     */
    public Schedule schedule(double base, long stepsPerEpoch) {
        long total = steps(stepsPerEpoch);
        return switch (name) {
            case "constant" -> Schedule.constant((float) base);
            case "one_cycle" -> Schedule.oneCycle((float) base, total, rise, 25, 1e4);
            default -> Schedule.cosine(
                    (float) base, (float) (base * end), total, Math.min(total, Math.round(warmupEpochs * stepsPerEpoch)),
                    (float) (base * start));
        };
    }
}
