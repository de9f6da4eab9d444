// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.LearningException;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.StepBenchmark;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.primitives.GatunException;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

@Command(
        name = "bench-steps",
        description = {
            "Times whole training steps of pipeline files: batch up, views, loss, backward, update, as a run takes them, each form on its own. "
                    + "docs/steps.md says what is in a step."
        },
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "  gatun bench-steps configs/steps/*.yaml --device cuda --json steps.json",
            "  gatun bench-steps configs/steps/*.yaml --device cuda --batch 128 --batch largest --compare torch-steps.json",
        })
final class BenchStepsCommand implements Callable<Integer> {
    private static final String LARGEST = "largest";
    private static final int STEPS_TO_FIT = 2;

    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "CONFIG.yaml", arity = "1..*", description = "Pipeline files.")
    List<Path> configs;

    @Option(names = "--device", paramLabel = "NAME", description = "Where it computes: cpu, cuda, cuda:N or emulated; default the file's.")
    @Nullable String device;

    @Option(names = "--batch", paramLabel = "N|largest", description = "Samples of a step, instead of the file's; largest: doubled from there "
            + "until the device's memory is full. May be given several times.")
    List<String> batches = List.of();

    @Option(names = "--steps", paramLabel = "N", defaultValue = "20", description = "Timed steps. Default: ${DEFAULT-VALUE}")
    int steps;

    @Option(names = "--warm-up", paramLabel = "N", defaultValue = "5", description = "Steps before them. Default: ${DEFAULT-VALUE}")
    int warmUp;

    @Option(names = "--set", paramLabel = "key=value", description = "Overrides a setting of all; may be given several times.")
    List<String> settings = List.of();

    @Option(names = "--list", description = "Print the pipelines as a JSON array, for benchmarks/peers/torch_cuda.py --steps, without running them.")
    boolean list;

    @Option(names = "--json", paramLabel = "FILE", description = "Also write what was timed.")
    @Nullable Path json;

    @Option(names = "--compare", paramLabel = "FILE", description = "Steps of a peer, from benchmarks/peers/torch_cuda.py --steps --json.")
    @Nullable Path compare;

    private final List<StepRow> rows = new ArrayList<>();
    private final ArrayNode failed = JsonMapper.builder().build().createArrayNode();

    @Override
    public Integer call() throws IOException {
        List<StepRow> peers = compare == null ? List.of() : StepRow.read(compare);
        for (Path config : configs) {
            read(config, List.of());  // what is wrong with the last file is said before the first is timed
        }
        PrintWriter out = spec.commandLine().getOut();
        if (list) {
            out.println(descriptions());
            return 0;
        }
        for (Path config : configs) {
            for (String batch : batches.isEmpty() ? Set.of("") : new LinkedHashSet<>(batches)) {
                time(config, batch);
            }
        }
        if (rows.isEmpty()) {
            return 1;
        }
        new StepTable(rows, peers).print(out);
        return failed.isEmpty() ? 0 : 1;
    }

    private Pipeline read(Path config, List<String> more) {
        List<String> overrides = new ArrayList<>(settings);
        if (device != null) {
            overrides.add("device.name=" + device);
        }
        overrides.addAll(more);
        return PipelineReader.read(config, overrides);
    }

    private Pipeline read(Path config, int batch) {
        return read(config, List.of("data.batch=" + batch));
    }

    private static String name(Path config) {
        return config.getFileName().toString().replaceFirst("\\.ya?ml$", "");
    }

    private String descriptions() {
        JsonMapper mapper = JsonMapper.builder().build();
        ArrayNode array = mapper.createArrayNode();
        for (Path config : configs) {
            ObjectNode one = array.addObject();
            one.put("step", name(config));
            one.set("pipeline", mapper.valueToTree(read(config, List.of()).toMap()));
        }
        return mapper.writeValueAsString(array);
    }

    private void time(Path config, String batch) throws IOException {
        boolean largest = batch.equals(LARGEST);
        if (!largest && !batch.isEmpty() && !batch.matches("[1-9]\\d{0,8}")) {
            throw new ParameterException(spec.commandLine(), "--batch: " + batch + " is neither a number nor " + LARGEST);
        }
        int samples = largest ? largest(config) : batch.isEmpty() ? read(config, List.of()).batch().batch() : Integer.parseInt(batch);
        time(config, read(config, samples), largest);
    }

    // the last power of two times the file's batch that trains
    private int largest(Path config) {
        Pipeline pipeline = read(config, List.of());
        if (pipeline.device().name().equals("cpu")) {
            throw new LearningException("--batch largest: a CPU has no memory of its own to fill; name a device");
        }
        int batch = pipeline.batch().batch();
        while (fits(read(config, 2 * batch))) {
            batch *= 2;
        }
        return batch;
    }

    private static boolean fits(Pipeline pipeline) {
        try {
            StepBenchmark.run(pipeline, 1, STEPS_TO_FIT, ProgressListener.SILENT);
            return true;
        } catch (GatunException e) {
            if (e.status() != GatunException.Status.OUT_OF_MEMORY) {
                throw e;
            }
            return false;
        }
    }

    private void time(Path config, Pipeline pipeline, boolean largest) throws IOException {
        String form = "eager";
        try {
            StepBenchmark.Times times = StepBenchmark.run(pipeline, warmUp, steps, warnings());
            rows.add(new StepRow(name(config), pipeline.precision(), form, times.images(), largest, times.seconds(), OptionalDouble.empty(),
                    times.peakBytes()));
        } catch (LearningException | GatunException e) {
            ObjectNode failure = failed.addObject();
            failure.put("step", name(config)).put("precision", pipeline.precision()).put("form", form)
                    .put("batch", pipeline.batch().batch()).put("error", e.getMessage());
            spec.commandLine().getErr().println(name(config) + " " + form + ": " + e.getMessage());
        }
        write(pipeline.device().name());
    }

    private ProgressListener warnings() {
        PrintWriter err = spec.commandLine().getErr();
        return new ProgressListener() {
            @Override
            public void warning(String text) {
                err.println("warning: " + text);
            }
        };
    }

    private void write(String on) throws IOException {
        if (json == null) {
            return;
        }
        ObjectNode document = Results.document();
        document.put("device", on);
        ArrayNode array = document.putArray("steps");
        rows.forEach(row -> row.write(array.addObject()));
        document.set("failed", failed);
        Results.write(json, document);
    }
}
