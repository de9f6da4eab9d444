// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Watches the metrics that {@link Step} names and says what looks wrong, at most once an epoch each: embeddings that
 * collapse, prototypes that nothing uses, a gradient of zero, a loss that stays where a method that predicts nothing would be.
 */
final class Monitor {
    private static final int WINDOW = 20;

    private final long stepsPerEpoch;
    private final String advice;
    private final Map<String, Double> sums = new LinkedHashMap<>();
    private int count;

    /** @param advice what to try when the loss is stuck ({@link MethodProvider#advice}); empty = nothing known */
    Monitor(long stepsPerEpoch, String advice) {
        this.stepsPerEpoch = stepsPerEpoch;
        this.advice = advice.isEmpty() ? "" : "; try " + advice;
    }

    /**
     * Takes a step's metrics.
     *
     * @param step updates done
     * @return warnings, one line each; empty but at the end of an epoch
     */
    List<String> take(long step, double loss, Map<String, Double> metrics) {
        long left = (stepsPerEpoch - step % stepsPerEpoch) % stepsPerEpoch;
        if (left >= WINDOW) {
            return List.of();
        }
        count++;
        sums.merge("loss", loss, Double::sum);
        metrics.forEach((name, value) -> sums.merge(name, value, Double::sum));
        if (left > 0) {
            return List.of();
        }
        List<String> warnings = warnings(step / stepsPerEpoch, metrics);
        sums.clear();
        count = 0;
        return warnings;
    }

    private List<String> warnings(long epoch, Map<String, Double> metrics) {
        List<String> warnings = new ArrayList<>();
        double spread = mean(Step.SPREAD);
        if (spread < .1) {
            warnings.add(text("epoch %d: the embeddings collapse: a dimension's deviation is %.3f of a healthy one", epoch, spread));
        }
        double used = metrics.getOrDefault(Step.PROTOTYPES_USED, Double.NaN);
        double all = metrics.getOrDefault(Step.PROTOTYPES, Double.NaN);
        if (used < .5 * all) {
            warnings.add(text("epoch %d: only %.0f of %.0f prototypes were used", epoch, used, all));
        }
        if (mean("gradient_norm") == 0) {
            warnings.add(text("epoch %d: the gradient is zero: nothing is learned", epoch));
        }
        double loss = mean("loss");
        double uninformed = mean(Step.UNINFORMED_LOSS);
        if (loss > uninformed - .01) {
            warnings.add(text(
                    "epoch %d: the loss stays at %.3f, that of a method that predicts nothing is %.3f%s", epoch, loss, uninformed,
                    advice));
        }
        return warnings;
    }

    // NaN where the method does not log the metric; comparisons with it are false
    private double mean(String metric) {
        return sums.containsKey(metric) ? sums.get(metric) / count : Double.NaN;
    }

    private static String text(String format, Object... values) {
        return String.format(Locale.ROOT, format, values);
    }
}
