// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.PrimitiveCallBenchmark;
import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

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

    private static final int WARMUP = 200_000;
    private static final int ROUNDS = 201;
    private static final int TURN = 5_000;
    /** Below this it is the measurement's own. */
    private static final double NOISE_BYTES = 0.5;

    double above() {
        return nanos - bareNanos;
    }

    boolean met() {
        return above() <= TARGET_NANOS && bytes < NOISE_BYTES;
    }

    /**
     * Measures all pairs in this process, on the same operands: a call's turn follows its bare downcall's, since the kernel itself takes longer in one
     * process than in the next by more than what is looked for.
     */
    static List<CallCost> measure(String commit) {
        PrimitiveCallBenchmark calls = new PrimitiveCallBenchmark();
        calls.setup();
        try {
            Map<String, List<Work>> pairs = new LinkedHashMap<>();
            pairs.put("advance", List.of(calls::advance, calls::bareAdvance));
            pairs.put("l2Normalize", List.of(calls::l2Normalize, calls::bareL2Normalize));
            pairs.put("sinkhorn", List.of(calls::sinkhorn, calls::bareSinkhorn));
            // all are compiled before any is timed, as in a program that calls them all
            pairs.values().forEach(pair -> pair.forEach(work -> nanos(work, WARMUP)));
            List<CallCost> costs = new ArrayList<>();
            pairs.forEach((name, pair) -> costs.add(measure(name, pair.getFirst(), pair.getLast(), commit)));
            return costs;
        } finally {
            calls.close();
        }
    }

    private static CallCost measure(String name, Work call, Work bare, String commit) {
        double[] bares = new double[ROUNDS];
        double[] differences = new double[ROUNDS];
        for (int round = 0; round < ROUNDS; round++) {
            bares[round] = nanos(bare, TURN);
            differences[round] = nanos(call, TURN) - bares[round];
        }
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long before = threads.getCurrentThreadAllocatedBytes();
        nanos(call, WARMUP);
        double bytes = (double) (threads.getCurrentThreadAllocatedBytes() - before) / WARMUP;
        double median = Statistics.median95(bares).median();
        return new CallCost(name, median + Statistics.median95(differences).median(), median, bytes, commit, LocalDate.now().toString());
    }

    /** Of a call, the mean over so many. */
    private static double nanos(Work work, int times) {
        try {
            long start = System.nanoTime();
            for (int i = 0; i < times; i++) {
                work.run();
            }
            return (double) (System.nanoTime() - start) / times;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    private interface Work {
        void run() throws Throwable;
    }

    String line() {
        return "%s: %.1f ns, a bare downcall %.1f ns, %.1f ns above it, %.1f B a call".formatted(call, nanos, bareNanos, above(), bytes);
    }
}
