// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import java.util.List;
import java.util.function.Supplier;

/**
 * One of those who do a row's work.
 *
 * @param work the work once
 * @param results what it computed, for the check before the timing; empty where there is nothing to check
 */
record Contender(String name, Kind kind, Runnable work, Supplier<List<float[]>> results) {
    enum Kind {
        /** peak of multiply-adds or copying, in the same round */
        CEILING,
        OURS,
        PEER
    }
}
