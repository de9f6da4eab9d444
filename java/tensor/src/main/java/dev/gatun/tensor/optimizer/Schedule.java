// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.tensor.TensorException;

/** A value (learning rate, momentum, ...) as a function of the global step; without state, so a resumed run needs nothing saved. */
@FunctionalInterface
public interface Schedule {
    /** The value at a step counted from 0. */
    float at(long step);

    /** One value always. */
    static Schedule constant(float value) {
        return step -> value;
    }

    /**
     * Linear warm-up from {@code start} to {@code base} over {@code warmup} steps, then
     * end + ½(base − end)(1 + cos(π (t − warmup) / (total − warmup))). Constant at {@code end} from {@code total} on.
     */
    static Schedule cosine(float base, float end, long total, long warmup, float start) {
        if (warmup < 0 || total < warmup) {
            throw new TensorException("cosine schedule: " + warmup + " warm-up steps of " + total);
        }
        return step -> {
            if (step < warmup) {
                return (float) (start + (double) (base - start) * step / warmup);
            }
            if (step >= total) {
                return end;
            }
            double phase = (double) (step - warmup) / (total - warmup);
            return (float) (end + .5 * ((double) base - end) * (1 + Math.cos(Math.PI * phase)));
        };
    }

    /** {@link #cosine(float, float, long, long, float)} to zero with a warm-up from zero. */
    static Schedule cosine(float base, long total, long warmup) {
        return cosine(base, 0f, total, warmup, 0f);
    }

    /**
     * Smith's one-cycle policy with cosine parts: from peak / {@code startDivisor} up to peak over the first {@code rise} of the
     * steps, then down to start / {@code endDivisor} at the last step. Usual: rise .3, divisors 25 and 1e4.
     */
    static Schedule oneCycle(float peak, long total, double rise, double startDivisor, double endDivisor) {
        if (total < 1 || !(rise > 0 && rise < 1)) {
            throw new TensorException("one-cycle schedule: " + total + " steps, rise " + rise);
        }
        double first = peak / startDivisor;
        double last = first / endDivisor;
        double top = rise * total - 1;
        double bottom = total - 1;
        return step -> {
            double t = Math.min(step, bottom);
            double from = t <= top ? first : peak;
            double to = t <= top ? peak : last;
            double phase = t <= top ? t / Math.max(top, 1e-9) : (t - top) / Math.max(bottom - top, 1e-9);
            return (float) (to + .5 * (from - to) * (1 + Math.cos(Math.PI * phase)));
        };
    }

    /** {@link #oneCycle(float, long, double, double, double)} with the usual settings. */
    static Schedule oneCycle(float peak, long total) {
        return oneCycle(peak, total, .3, 25, 1e4);
    }
}
