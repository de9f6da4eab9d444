// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.Comparison;
import dev.gatun.benchmarks.RoundProfiler;
import dev.gatun.benchmarks.suite.Statistics.Estimate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.LocalDate;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;
import tools.jackson.databind.json.JsonMapper;

/** The process of one environment: measures rows with JMH, which need not fork again, and appends each to a file, a line of JSON a row. */
final class BenchFork {
    /** What the parent hands over. */
    record Order(PeerEnvironment environment, List<RowKey> rows, int threads, int rounds, String commit, String output, Progress progress) {}

    private BenchFork() {}

    public static void main(String[] arguments) throws IOException {
        Order order = JsonMapper.shared().readValue(Path.of(arguments[0]).toFile(), Order.class);
        Progress progress = order.progress();
        for (RowKey row : order.rows()) {
            progress = progress.next();
            Measured measured;
            try {
                measured = measure(order, row);
            } catch (RunnerException e) {
                Throwable cause = cause(e);
                if (cause instanceof Comparison.NoSuchPeer) {
                    continue;
                }
                measured = failed(order, row, cause);
            }
            System.out.println(progress.prefix() + Line.of(measured));
            Files.writeString(
                    Path.of(order.output()),
                    JsonMapper.shared().writeValueAsString(measured) + "\n",
                    StandardOpenOption.CREATE,
                    StandardOpenOption.APPEND);
        }
    }

    private static Measured measure(Order order, RowKey row) throws RunnerException {
        ChainedOptionsBuilder options = new OptionsBuilder()
                .include("^" + row.benchmark().replace(".", "\\.") + "$")
                .forks(0)
                .param("threads", String.valueOf(order.threads()))
                .addProfiler(RoundProfiler.class)
                .verbosity(VerboseMode.SILENT)
                .shouldFailOnError(true);
        if (order.rounds() > 0) {
            options.measurementIterations(order.rounds());
        }
        row.parameters().forEach(options::param);
        Collection<RunResult> results = new Runner(options.build()).run();
        Map<String, double[]> rounds = rounds(results.iterator().next());
        RoundProfiler.Row cost = RoundProfiler.row();
        double[] ours = rounds.get("ours");
        double[] roofline = new double[ours.length];
        double[] fma = rounds.get("fma");
        double[] copy = rounds.get("copy");
        Arrays.setAll(roofline, i -> Math.max(fma[i] * cost.flops() / cost.fmaFlops(), copy[i] * cost.bytes() / cost.copyBytes()));
        Map<String, Estimate> nanos = new LinkedHashMap<>();
        Map<String, Estimate> ratios = new LinkedHashMap<>();
        rounds.forEach((name, times) -> {
            nanos.put(name, Statistics.median95(times));
            if (cost.peers().contains(name)) {
                ratios.put(name, Statistics.ratio(times, ours));
            }
        });
        double perFlop = 1 / cost.fmaFlops();
        double perByte = 1 / cost.copyBytes();
        // as rates, since their amount of work is not the row's
        nanos.put("fma", scaled(nanos.get("fma"), perFlop));
        nanos.put("copy", scaled(nanos.get("copy"), perByte));
        return new Measured(
                row.operation(),
                row.parameters(),
                order.environment().name(),
                cost.peer(),
                cost.isa(),
                cost.dtype(),
                order.threads(),
                ours.length,
                cost.flops(),
                cost.bytes(),
                nanos,
                Statistics.ratio(roofline, ours),
                ratios,
                cost.targets(),
                order.commit(),
                LocalDate.now().toString(),
                "");
    }

    private static Estimate scaled(Estimate estimate, double factor) {
        return new Estimate(estimate.median() * factor, estimate.low() * factor, estimate.high() * factor);
    }

    /** JMH keeps what a benchmark throws suppressed in its own exception. */
    private static Throwable cause(Throwable error) {
        Throwable cause = error;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.getSuppressed().length > 0 ? cause(cause.getSuppressed()[0]) : cause;
    }

    private static Measured failed(Order order, RowKey row, Throwable cause) {
        Estimate none = new Estimate(0, 0, 0);
        return new Measured(
                row.operation(), row.parameters(), order.environment().name(), "", "", "", order.threads(), 0, 0, 0, Map.of(), none, Map.of(),
                Map.of(), order.commit(), LocalDate.now().toString(), firstLines(String.valueOf(cause.getMessage())));
    }

    /** A script's error says the rest a second time, with addresses. */
    private static String firstLines(String message) {
        return message.lines().filter(line -> !line.isBlank()).limit(3).collect(Collectors.joining(" | "));
    }

    /** Nanoseconds a call of each contender, by round. */
    private static Map<String, double[]> rounds(RunResult result) {
        Map<String, double[]> rounds = new LinkedHashMap<>();
        for (BenchmarkResult benchmark : result.getBenchmarkResults()) {
            List<IterationResult> iterations = List.copyOf(benchmark.getIterationResults());
            for (int i = 0; i < iterations.size(); i++) {
                int round = i;
                iterations.get(i).getSecondaryResults().forEach((name, value) ->
                        rounds.computeIfAbsent(name, key -> new double[iterations.size()])[round] = value.getScore());
            }
        }
        return rounds;
    }
}
