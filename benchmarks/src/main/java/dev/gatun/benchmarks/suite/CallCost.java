// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.PrimitiveCallBenchmark;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * What a primitive costs above a bare downcall of the same function on the same operands.
 *
 * @param call the primitive
 * @param nanos of the primitive
 * @param bareNanos of the downcall
 * @param bytes allocated a call
 */
record CallCost(String call, double nanos, double bareNanos, double bytes, String commit, String date) {
    static final String OPERATION = "primitive_call";
    /** The target: nanoseconds above the bare downcall. */
    static final double TARGET_NANOS = 60;

    private static final String BARE = "bare";
    /** Below this the profiler sees its own allocation. */
    private static final double NOISE_BYTES = 0.5;

    double above() {
        return nanos - bareNanos;
    }

    boolean met() {
        return above() <= TARGET_NANOS && bytes < NOISE_BYTES;
    }

    /** Measures all pairs in a process of JMH's. */
    static List<CallCost> measure(String commit) {
        Collection<RunResult> results;
        try {
            results = new Runner(new OptionsBuilder()
                            .include("^" + PrimitiveCallBenchmark.class.getName().replace(".", "\\.") + "\\..*")
                            .forks(1)
                            .addProfiler(GCProfiler.class)
                            .verbosity(VerboseMode.SILENT)
                            .shouldFailOnError(true)
                            .build())
                    .run();
        } catch (RunnerException e) {
            throw new IllegalStateException(e);
        }
        Map<String, RunResult> byMethod = new LinkedHashMap<>();
        for (RunResult result : results) {
            byMethod.put(result.getPrimaryResult().getLabel(), result);
        }
        List<CallCost> costs = new ArrayList<>();
        byMethod.forEach((method, bare) -> {
            String call = method.startsWith(BARE) ? method.substring(4, 5).toLowerCase(Locale.ROOT) + method.substring(5) : "";
            RunResult primitive = byMethod.get(call);
            if (primitive != null) {
                costs.add(new CallCost(
                        call, primitive.getPrimaryResult().getScore(), bare.getPrimaryResult().getScore(), bytes(primitive), commit,
                        LocalDate.now().toString()));
            }
        });
        return costs;
    }

    private static double bytes(RunResult result) {
        return result.getSecondaryResults().entrySet().stream()
                .filter(entry -> entry.getKey().endsWith("gc.alloc.rate.norm"))
                .map(Map.Entry::getValue)
                .mapToDouble(Result::getScore)
                .findFirst()
                .orElseThrow();
    }

    String line() {
        return "%s: %.1f ns, a bare downcall %.1f ns, %.1f ns above it, %.1f B a call".formatted(call, nanos, bareNanos, above(), bytes);
    }
}
