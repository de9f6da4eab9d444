// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.benchmarks.nd4j.Nd4jPeer;
import dev.gatun.benchmarks.torch.Torch;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * An operation, ours beside the peers'. An invocation is a round: the ceilings, ours and each form of the peer take turns of some 40 ms, because the
 * speed of a shared machine drifts within seconds by more than the differences looked for. The time of the round says nothing; each contender's time
 * is a secondary result of {@link RoundProfiler}. Who takes part is decided by system property {@code gatun.peer} (djl, presets or nd4j), in
 * whose process nothing else may be linked with another.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 1)
@Measurement(iterations = 9)
public abstract class Comparison {
    private static final long TURN_NANOS = 40_000_000;
    private static final long CEILING_NANOS = 15_000_000;
    /** OpenMP's threads of whoever came before still spin this long. */
    private static final long SETTLE_MILLIS = 10;
    /** Caches, threads and clock find their way again in this time, untimed. */
    private static final long REWARM_NANOS = 3_000_000;

    @Param("2")
    public int threads;

    private final Deque<AutoCloseable> owned = new ArrayDeque<>();
    private DeviceState device;
    private List<Contender> contenders;
    private int[] repetitions;
    private int first;

    /** Adds the contenders of this row. */
    protected abstract void prepare(DeviceState device, Contest contest);

    /** The operation's name: the script of its peers has it. */
    protected String operation() {
        return getClass().getSimpleName().replaceFirst("Benchmark.*", "");
    }

    @Setup(Level.Trial)
    public final void open() throws Exception {
        device = new DeviceState();
        device.threads = threads;
        device.open();
        try {
            prepare();
        } catch (Throwable e) {
            // JMH closes nothing of a row that does not begin, and the next one is timed in this process
            close();
            throw e;
        }
    }

    private void prepare() {
        Contest contest = new Contest(device, Peer.torch(threads), Peer.nd4j(), operation());
        prepare(device, contest);
        if (contest.nd4j().isPresent() && contest.row().peers().isEmpty()) {
            throw new NoSuchPeer();
        }
        contest.check();
        contest.addCeilings();
        contenders = contest.contenders();
        repetitions = contenders.stream().mapToInt(Comparison::repetitions).toArray();
        RoundProfiler.begin(contest.row());
    }

    /** What prepare opens, closed behind the last round. */
    protected final <T extends AutoCloseable> T own(T resource) {
        owned.addFirst(resource);
        return resource;
    }

    @TearDown(Level.Trial)
    public final void close() throws Exception {
        while (!owned.isEmpty()) {
            owned.removeFirst().close();
        }
        device.close();
    }

    /** Warms up, and counts the calls of a turn. */
    private static int repetitions(Contender contender) {
        long turn = contender.kind() == Contender.Kind.CEILING ? CEILING_NANOS : TURN_NANOS;
        long fastest = Long.MAX_VALUE;
        long start = System.nanoTime();
        for (int call = 0; call < 2 || (System.nanoTime() - start < turn && call < 1000); call++) {
            long before = System.nanoTime();
            contender.work().run();
            fastest = Math.min(fastest, System.nanoTime() - before);
        }
        return Math.clamp(turn / Math.max(fastest, 1), 1, 1_000_000);
    }

    @Benchmark
    public final void round() {
        // Nobody always comes after the same neighbour's heat and cache.
        first++;
        for (int i = 0; i < contenders.size(); i++) {
            int turn = (first + i) % contenders.size();
            RoundProfiler.add(contenders.get(turn), turn(contenders.get(turn), repetitions[turn]));
        }
    }

    /** Nanoseconds a call: the median of a turn, of a ceiling the least, since whatever delays it is not the ceiling. */
    private static double turn(Contender contender, int repetitions) {
        try {
            Thread.sleep(SETTLE_MILLIS);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
        if (repetitions > 1) {
            long warm = System.nanoTime();
            do {
                contender.work().run();
            } while (System.nanoTime() - warm < REWARM_NANOS);
        }
        long[] calls = new long[repetitions];
        for (int i = 0; i < repetitions; i++) {
            long start = System.nanoTime();
            contender.work().run();
            calls[i] = System.nanoTime() - start;
        }
        Arrays.sort(calls);
        return contender.kind() == Contender.Kind.CEILING ? calls[0] : calls[repetitions / 2];
    }

    /** The peer of this process does not have the row's operation. */
    public static final class NoSuchPeer extends IllegalStateException {
        NoSuchPeer() {
            super("the peer has no such operation");
        }
    }

    /** The peer of this process, opened once. */
    private static final class Peer {
        private static final String NAME = System.getProperty("gatun.peer", "");
        private static Optional<Torch> torch = Optional.empty();
        private static Optional<Nd4jPeer> nd4j = Optional.empty();

        static synchronized Optional<Torch> torch(int threads) {
            if (torch.isEmpty() && !NAME.isEmpty() && !NAME.equals("nd4j")) {
                torch = Optional.of(Torch.open(Torch.Build.valueOf(NAME.toUpperCase(Locale.ROOT)), threads));
            }
            return torch;
        }

        static synchronized Optional<Nd4jPeer> nd4j() {
            if (nd4j.isEmpty() && NAME.equals("nd4j")) {
                nd4j = Optional.of(new Nd4jPeer());
            }
            return nd4j;
        }
    }
}
