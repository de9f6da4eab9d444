// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.steps.Steps;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.json.JsonMapper;

/** Measures operations beside their peers, one process an environment. */
@Command(name = "bench", mixinStandardHelpOptions = true, description = "Ours beside PyTorch and ND4J, in the same process and by turns.")
public final class Bench implements Callable<Integer> {
    @Parameters(paramLabel = "OPERATION", description = "Operations to measure, as in kernels/; all where none is given.")
    private List<String> operations = List.of();

    @Option(names = "--rows", paramLabel = "REGEX", description = "Only rows whose parameters match, as in '64x3x197.*forward$'.")
    private String rows = "";

    @Option(
            names = "--peers",
            split = ",",
            paramLabel = "NAME",
            description = "Environments of peers. Where none is given: djl presets djl-default djl-avx2 nd4j. Only where named: libraries, and openblas,"
                    + " which is not recorded.")
    private List<String> environments = List.of();

    @Option(names = "--rounds", paramLabel = "N", description = "Rounds a row, where not what the benchmark says.")
    private int rounds;

    @Option(names = "--threads", paramLabel = "N", description = "Threads of both sides.")
    private int threads = 2;

    @Option(names = "--directory", paramLabel = "DIR", description = "The project, where benchmarks/results and docs are.")
    private Path directory = Path.of("");

    @Option(names = "--quick", description = "For trying: djl alone, 5 rounds, nothing is recorded.")
    private boolean quick;

    @Override
    public Integer call() throws IOException, InterruptedException {
        boolean calls = rows.isEmpty() && environments.isEmpty() && (operations.isEmpty() || wanted(CallCost.OPERATION));
        List<RowKey> keys = !operations.isEmpty() && compared().isEmpty() ? List.of() : keys();
        List<PeerEnvironment> processes = environments();
        Progress progress = new Progress(0, keys.size() * processes.size(), System.currentTimeMillis());
        boolean failed = false;
        for (PeerEnvironment environment : keys.isEmpty() ? List.<PeerEnvironment>of() : processes) {
            failed |= !measure(environment, keys, progress);
            progress = new Progress(progress.done() + keys.size(), progress.total(), progress.started());
        }
        if (calls) {
            List<CallCost> costs = CallCost.measure(System.getProperty("gatun.commit", ""));
            costs.forEach(cost -> System.out.println(CallCost.OPERATION + " " + cost.line()));
            record(List.of(), costs, List.of());
        }
        memory();
        return failed ? 1 : 0;
    }

    /** Measures the rows in a process of the environment and records them before the next begins; whether none failed. */
    private boolean measure(PeerEnvironment environment, List<RowKey> keys, Progress progress) throws IOException, InterruptedException {
        Path part = Files.createTempFile("gatun-bench", ".jsonl");
        try {
            int status = fork(environment, keys, part, progress);
            List<Measured> measured = new ArrayList<>();
            for (String line : Files.readAllLines(part)) {
                measured.add(JsonMapper.shared().readValue(line, Measured.class));
            }
            if (environment.recorded()) {
                record(measured, List.of(), List.of());
            }
            return status == 0 && measured.stream().allMatch(row -> row.failure().isEmpty());
        } finally {
            Files.deleteIfExists(part);
        }
    }

    /** Into the machine's file, from which the page and the plot are made again; nothing where it is for trying. */
    private void record(List<Measured> measured, List<CallCost> calls, List<PeakMemory> memory) throws IOException {
        if (quick || measured.isEmpty() && calls.isEmpty() && memory.isEmpty()) {
            return;
        }
        Machine machine = Machine.here();
        Path file = directory.resolve("benchmarks/results/" + machine.slug() + ".json");
        Results results = Results.read(file, machine).merged(measured).withCalls(calls).withMemory(memory);
        results.write(file);
        Path docs = directory.resolve("docs");
        Plot.write(results, docs.resolve("benchmarks.png"));
        Files.writeString(docs.resolve("benchmarks.md"), Report.markdown(results, "benchmarks.png"));
        System.out.println(file + " and " + docs.resolve("benchmarks.md"));
    }

    /** Measures and records the peaks of the steps that match, where they are measured. */
    private void memory() throws IOException, InterruptedException {
        if (!operations.isEmpty() && !wanted(PeakMemory.OPERATION)) {
            return;
        }
        for (PeerEnvironment environment : environments()) {
            for (String step : PeakMemory.ENVIRONMENTS.contains(environment.name()) ? Steps.names() : List.<String>of()) {
                if (Pattern.compile(rows).matcher(step).find()) {
                    PeakMemory peak = PeakMemory.measure(step, environment, threads, System.getProperty("gatun.commit", ""));
                    System.out.println(PeakMemory.OPERATION + " " + peak.line());
                    record(List.of(), List.of(), List.of(peak));
                }
            }
        }
    }

    /** Those of the named operations that are compared row by row. */
    private List<String> compared() {
        List<String> own = Stream.of(CallCost.OPERATION, PeakMemory.OPERATION).map(name -> name.replace("_", "")).toList();
        return operations.stream().map(name -> name.replace("_", "").toLowerCase(Locale.ROOT)).filter(name -> !own.contains(name)).toList();
    }

    private boolean wanted(String operation) {
        return operations.stream().anyMatch(name -> name.replace("_", "").equalsIgnoreCase(operation.replace("_", "")));
    }

    private List<RowKey> keys() {
        List<RowKey> all = RowKey.all();
        List<String> names = compared();
        List<String> known = all.stream().map(key -> key.operation().replace("_", "")).distinct().toList();
        for (String name : names) {
            if (!known.contains(name)) {
                throw new CommandLine.ParameterException(
                        new CommandLine(this),
                        "No benchmark for '" + name + "'; there are: "
                                + all.stream().map(RowKey::operation).distinct().collect(Collectors.joining(" "))
                                + " " + CallCost.OPERATION + " " + PeakMemory.OPERATION);
            }
        }
        Pattern pattern = Pattern.compile(rows);
        List<RowKey> keys = all.stream()
                .filter(key -> names.isEmpty() || names.contains(key.operation().replace("_", "")))
                .filter(key -> pattern.matcher(key.label()).find())
                .toList();
        if (keys.isEmpty()) {
            throw new CommandLine.ParameterException(new CommandLine(this), "No row matches " + rows);
        }
        return keys;
    }

    private List<PeerEnvironment> environments() {
        List<PeerEnvironment> all = PeerEnvironment.all();
        if (environments.isEmpty()) {
            return quick ? all.subList(0, 1) : all;
        }
        List<PeerEnvironment> known = new ArrayList<>(all);
        known.addAll(PeerEnvironment.asked());
        return environments.stream()
                .map(name -> known.stream()
                        .filter(environment -> environment.name().equals(name))
                        .findAny()
                        .orElseThrow(() -> new CommandLine.ParameterException(
                                new CommandLine(this),
                                "No peers '" + name + "'; there are: "
                                        + known.stream().map(PeerEnvironment::name).collect(Collectors.joining(" ")))))
                .toList();
    }

    private int fork(PeerEnvironment environment, List<RowKey> keys, Path part, Progress progress) throws IOException, InterruptedException {
        BenchFork.Order order = new BenchFork.Order(
                environment, keys, threads, rounds > 0 ? rounds : quick ? 5 : environment.rounds(), System.getProperty("gatun.commit", ""), part.toString(), progress);
        Path file = Files.createTempFile("gatun-bench", ".json");
        try {
            Files.write(file, JsonMapper.shared().writeValueAsBytes(order));
            return environment.process(threads, List.of(), BenchFork.class, file.toString()).inheritIO().start().waitFor();
        } finally {
            Files.deleteIfExists(file);
        }
    }

    public static void main(String[] arguments) {
        System.exit(new CommandLine(new Bench()).execute(arguments));
    }
}
