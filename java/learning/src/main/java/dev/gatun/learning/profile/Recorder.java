// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.profile;

import dev.gatun.primitives.CallListener;
import dev.gatun.primitives.CallTrace;
import dev.gatun.primitives.DType;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;

/** Adds up the calls of one thread's steps. Calls of other threads are beside the step, and only their time is counted. */
public final class Recorder implements CallListener {
    /** What stands for all calls that only ask how much workspace an operation needs. */
    static final String QUERIES = "workspace queries";

    private static final int SHOWN_SHAPES = 4;
    private static final Set<String> MEMORY = Set.of("memory_allocate", "memory_free", "memory_allocate_host", "memory_free_host");

    private final Thread thread = Thread.currentThread();
    private final Map<Key, Total> totals = new LinkedHashMap<>();
    private final AtomicLong beside = new AtomicLong();
    private long memory;
    private long called;
    private long outside;
    private long mark;
    private long wall;
    private int steps;

    private record Key(String operation, String detail, String shapes) {}

    private static final class Total {
        private long calls;
        private long nanos;
        private double flops;
        private double bytes;
        private boolean matrixUnits;

        Work mean() {
            return new Work(flops / calls, bytes / calls);
        }
    }

    /** A step begins now, on the thread that made the recorder. */
    public void begin() {
        mark = System.nanoTime();
        wall -= mark;
    }

    /** The step ends. */
    public void end() {
        long now = System.nanoTime();
        outside += now - mark;
        wall += now;
        steps++;
    }

    @Override
    public void called(CallTrace call) {
        long nanos = call.end() - call.start();
        if (Thread.currentThread() != thread) {
            beside.addAndGet(nanos);
            return;
        }
        if (call.start() < mark) {
            throw new IllegalStateException(call.operation() + " began before the call in it, or the step, was over");
        }
        outside += call.start() - mark;
        if (MEMORY.contains(call.operation())) {
            memory += nanos;
        } else {
            add(call, nanos);
        }
        // what the listener itself takes until now is the program's, as the rest outside the calls is
        mark = call.end();
    }

    private void add(CallTrace call, long nanos) {
        called += nanos;
        boolean query = call.operation().endsWith("_workspace");
        Key key = query ? new Key(QUERIES, call.operation(), "") : new Key(call.operation(), call.detail(), shapes(call));
        Total total = totals.computeIfAbsent(key, k -> new Total());
        Work work = query ? Work.NONE : Work.of(call);
        total.calls++;
        total.nanos += nanos;
        total.flops += work.flops();
        total.bytes += work.bytes();
        total.matrixUnits = !call.arguments().isEmpty() && call.arguments().getFirst().layout().dtype() != DType.F32;
    }

    private static String shapes(CallTrace call) {
        Set<String> shown = new LinkedHashSet<>();
        for (CallTrace.Argument argument : call.arguments()) {
            String size = String.join("×", IntStream.range(0, argument.layout().rank())
                    .mapToObj(i -> Long.toString(argument.layout().size(i))).toList());
            if (shown.stream().noneMatch(s -> s.endsWith(" " + size))) {
                shown.add(argument.name() + " " + size);
            }
        }
        return shown.isEmpty() && call.bytes() > 0 ? call.bytes() + " bytes"
                : String.join(", ", shown.stream().limit(SHOWN_SHAPES).toList()) + (shown.size() > SHOWN_SHAPES ? ", ..." : "");
    }

    /**
     * What was recorded.
     *
     * @param device where it computed, in words
     * @param images samples of a step
     * @param plainSeconds of a step that was not recorded
     * @param waitedNanos of the recorded steps together
     * @throws IllegalStateException if the parts do not add up to the steps' time
     */
    public Profile profile(String device, int images, double plainSeconds, long waitedNanos, Ceilings ceilings) {
        long parts = called + memory + outside;
        if (steps == 0 || Math.abs(parts - wall) > steps * 1000L || waitedNanos > outside) {
            throw new IllegalStateException("calls " + called + ", memory " + memory + " and between them " + outside + " ns, " + waitedNanos
                    + " of it waiting, are not the " + wall + " ns of " + steps + " steps");
        }
        double unit = 1e-9 / steps;
        List<Profile.Kernel> kernels = new ArrayList<>();
        totals.forEach((key, total) -> kernels.add(new Profile.Kernel(
                key.operation(), key.detail(), key.shapes(), (double) total.calls / steps, total.nanos * unit, total.flops / steps,
                total.bytes / steps, ceilings.seconds(total.mean(), total.matrixUnits) * total.calls / steps)));
        kernels.sort(Comparator.comparingDouble(Profile.Kernel::seconds).reversed());
        return new Profile(device, images, steps, wall * unit, plainSeconds, kernels, waitedNanos * unit, memory * unit,
                (outside - waitedNanos) * unit, beside.get() * unit, ceilings);
    }
}
