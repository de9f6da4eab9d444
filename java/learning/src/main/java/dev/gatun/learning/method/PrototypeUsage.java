// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.Step;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.Extremes;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.State;
import java.util.List;

/**
 * Counts the prototypes that were the strongest in some sample's code within the last epoch's number of steps. The step of
 * each prototype's last use is state, so that a resumed run counts on.
 */
final class PrototypeUsage {
    private static final float NEVER = -1e30f;

    private final State lastUse;

    PrototypeUsage(Parameters parameters, int prototypes) {
        lastUse = parameters.state("prototypes.last_use", NEVER, prototypes);
    }

    /**
     * Takes a step's codes.
     *
     * @param codes each (B, K)
     * @param step the step
     * @return f32, one value: how many prototypes are in use
     */
    Tensor used(List<Tensor> codes, Step step) {
        Tensor last = step.pass().use(lastUse);
        Tensor now = step.scalar(index -> index);
        for (Tensor code : codes) {
            // 0 where a prototype is some row's strongest, else below it
            Tensor below = Extremes.largest(code.sub(Extremes.largest(code, 1)), 0).reshape(-1);
            last = Extremes.larger(last, below.mul(-NEVER).add(now));
        }
        lastUse.value().copyFrom(last);
        Tensor before = step.scalar(index -> index - step.stepsPerEpoch());
        Tensor inUse = Extremes.larger(last.sub(before), step.scope().zeros(1));
        return Extremes.smaller(inUse, step.scope().full(1f, 1)).sum();
    }
}
