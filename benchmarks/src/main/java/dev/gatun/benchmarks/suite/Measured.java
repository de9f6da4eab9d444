// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.suite.Statistics.Estimate;
import java.util.Map;

/**
 * A row as one process measured it.
 *
 * @param environment name of the {@link PeerEnvironment}
 * @param peer build and version of the peer
 * @param isa level of ours: avx512, avx2 or scalar
 * @param nanos a call of each contender; the ceilings' time is for flops and bytes of the row
 * @param fraction of the ceiling: time that the row's work takes at the ceilings of the same round over ours
 * @param ratios each form's time over ours
 * @param targets ratios that the row should reach: to the fastest form (""), or to one
 * @param failure why there are no figures; empty where there are
 */
record Measured(
        String operation,
        Map<String, String> parameters,
        String environment,
        String peer,
        String isa,
        String dtype,
        int threads,
        int rounds,
        double flops,
        double bytes,
        Map<String, Estimate> nanos,
        Estimate fraction,
        Map<String, Estimate> ratios,
        Map<String, Double> targets,
        String commit,
        String date,
        String failure) {}
