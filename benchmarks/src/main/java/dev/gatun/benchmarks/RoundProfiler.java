// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.infra.IterationParams;
import org.openjdk.jmh.profile.InternalProfiler;
import org.openjdk.jmh.results.AggregationPolicy;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.ScalarResult;

/** Brings the contenders' times of a round into JMH's results: secondary results, nanoseconds a call. */
public final class RoundProfiler implements InternalProfiler {
    /** What the times of a row are to be judged by. */
    public record Row(
            double flops,
            double bytes,
            double fmaFlops,
            double copyBytes,
            List<String> peers,
            Map<String, Double> targets,
            String peer,
            String isa,
            String dtype) {}

    private static Row row = new Row(0, 0, 1, 1, List.of(), Map.of(), "", "", "");
    private static final Map<String, Double> round = new LinkedHashMap<>();

    static synchronized void begin(Row next) {
        row = next;
        round.clear();
    }

    static synchronized void add(Contender contender, double nanos) {
        round.put(contender.name(), nanos);
    }

    /** The row that was measured last in this process. */
    public static synchronized Row row() {
        return row;
    }

    @Override
    public String getDescription() {
        return "ours, the peers and the ceilings of each round";
    }

    @Override
    public void beforeIteration(BenchmarkParams benchmark, IterationParams iteration) {
        synchronized (RoundProfiler.class) {
            round.clear();
        }
    }

    @Override
    public Collection<ScalarResult> afterIteration(BenchmarkParams benchmark, IterationParams iteration, IterationResult result) {
        synchronized (RoundProfiler.class) {
            List<ScalarResult> results = new ArrayList<>();
            round.forEach((name, nanos) -> results.add(new ScalarResult(name, nanos, "ns", AggregationPolicy.AVG)));
            return results;
        }
    }
}
