// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Comparison;
import dev.gatun.benchmarks.Contest;
import dev.gatun.benchmarks.DeviceState;

/** A block of a network, or a whole step: the peers' text of all of them is one script. */
public abstract class NetworkComparison extends Comparison {
    @Override
    protected final String operation() {
        return "steps";
    }

    /** ND4J has none of them, so nothing is built beside it. */
    @Override
    protected final void prepare(DeviceState device, Contest contest) {
        if (contest.nd4j().isEmpty()) {
            prepare(contest);
        }
    }

    /** Adds the contenders of this row. */
    protected abstract void prepare(Contest contest);
}
