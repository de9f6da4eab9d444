// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.comparison;

import dev.gatun.learning.LearningException;
import dev.gatun.learning.pipeline.BatchSettings;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What each run of a comparison may spend: seconds of training, or training samples drawn (an image counts once each time it
 * is drawn, however many views are made of it).
 *
 * @param text as it was asked for, such as {@code 5m}
 * @param seconds of training, all that happens between epochs included; 0 if images are counted
 * @param images samples drawn; 0 if seconds are counted
 */
public record Budget(String text, double seconds, long images) {
    private static final Pattern FORM = Pattern.compile("([0-9]+(?:\\.[0-9]+)?)\\s*([a-z]*)");

    /**
     * Reads a budget.
     *
     * @param text a number with a unit: {@code 60s}, {@code 5m}, {@code 1h} or {@code 500000images}
     * @throws LearningException if it is none; one line
     */
    public static Budget parse(String text) {
        Matcher matcher = FORM.matcher(text.strip());
        if (!matcher.matches()) {
            throw new LearningException("budget " + text + ": expected a number with a unit, such as 60s, 5m or 500000images");
        }
        double number = Double.parseDouble(matcher.group(1));
        String unit = matcher.group(2);
        Budget budget = switch (unit) {
            case "s" -> new Budget(text.strip(), number, 0);
            case "m" -> new Budget(text.strip(), 60 * number, 0);
            case "h" -> new Budget(text.strip(), 3600 * number, 0);
            case "images" -> new Budget(text.strip(), 0, (long) number);
            case "" -> throw new LearningException("budget " + text + ": of what? known units: s, m, h, images");
            default -> throw new LearningException("budget " + text + ": unknown unit " + unit + "; known units: s, m, h, images");
        };
        if (budget.seconds() <= 0 && budget.images() <= 0) {
            throw new LearningException("budget " + text + ": expected more than nothing");
        }
        return budget;
    }

    /** Whether the budget is time, which a calibration turns into steps. */
    public boolean timed() {
        return seconds > 0;
    }

    /**
     * The updates that a budget of images pays for.
     *
     * @param batch how many images an update takes
     * @throws LearningException if it pays for none; one line
     */
    public long steps(BatchSettings batch) {
        long update = (long) batch.batch() * batch.accumulate();
        if (images < update) {
            throw new LearningException("budget " + text + ": an update takes " + update + " images");
        }
        return Math.round((double) images / update);
    }
}
