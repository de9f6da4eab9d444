// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Comparison;

/** A block of a network, or a whole step: the peers' text of all of them is one script. */
public abstract class NetworkComparison extends Comparison {
    @Override
    protected final String operation() {
        return "steps";
    }
}
