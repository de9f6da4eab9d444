// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.Step;
import dev.gatun.tensor.Tensor;
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
     * @return how many prototypes are in use
     */
    int used(List<Tensor> codes, Step step) {
        float[] last = lastUse.value().toArray();
        for (Tensor code : codes) {
            float[] values = code.toArray();
            for (int row = 0; row < values.length; row += last.length) {
                int best = 0;
                for (int k = 1; k < last.length; k++) {
                    best = values[row + k] > values[row + best] ? k : best;
                }
                last[best] = step.index();
            }
        }
        lastUse.value().copyFrom(last);
        int used = 0;
        for (float use : last) {
            used += use > step.index() - step.stepsPerEpoch() ? 1 : 0;
        }
        return used;
    }
}
