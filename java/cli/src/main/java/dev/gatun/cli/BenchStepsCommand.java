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
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
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
            "  gatun bench-steps configs/steps/*.yaml --device cuda --batch 128 --batch largest --json steps.json",
            "  gatun bench-steps --timed steps.json --compare torch-steps.json",
        })
final class BenchStepsCommand implements Callable<Integer> {
    private static final String LARGEST = "largest";
    private static final String EAGER = "eager";
    /** In the order in which they are timed. */
    private static final List<String> FORMS = List.of("captured", EAGER);

    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "CONFIG.yaml", arity = "0..*", description = "Pipeline files.")
    List<Path> configs = List.of();

    @Option(names = "--device", paramLabel = "NAME", description = "Where it computes: cpu, cuda, cuda:N or emulated; default the file's.")
    @Nullable String device;

    @Option(names = "--batch", paramLabel = "N|largest", description = "Samples of a step, instead of the file's; largest: doubled from there "
            + "until the device's memory is full. May be given several times.")
    List<String> batches = List.of();

    @Option(names = "--form", paramLabel = "NAME", description = "eager: operation by operation; captured: recorded once, then launched as a "
            + "whole. Default: every form that the device has. May be given several times.")
    List<String> forms = List.of();

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

    @Option(names = "--timed", paramLabel = "FILE", description = "Instead of timing, show what --json wrote before.")
    @Nullable Path timed;

    @Option(names = "--compare", paramLabel = "FILE", description = "Steps of a peer, from benchmarks/peers/torch_cuda.py --steps --json.")
    @Nullable Path compare;

    private final List<StepRow> rows = new ArrayList<>();
    private final ArrayNode failed = JsonMapper.builder().build().createArrayNode();

    @Override
    public Integer call() throws IOException {
        if (configs.isEmpty() == (timed == null)) {
            throw new ParameterException(spec.commandLine(), "which pipeline files? (or one --timed file)");
        }
        List<StepRow> peers = compare == null ? List.of() : StepRow.read(compare);
        if (timed != null) {
            new StepTable(StepRow.read(timed), peers).print(spec.commandLine().getOut());
            return 0;
        }
        for (Path config : configs) {
            read(config, List.of());  // what is wrong with the last file is said before the first is timed
        }
        PrintWriter out = spec.commandLine().getOut();
        if (list) {
            out.println(descriptions());
            return 0;
        }
        for (String batch : batches.isEmpty() ? Set.of("") : new LinkedHashSet<>(batches)) {
            for (Path config : configs) {
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

    private Pipeline read(Path config, String form, int batch) {
        return read(config, List.of("data.batch=" + batch, "device.capture=" + !form.equals(EAGER)));
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
        Map<Integer, Double> busy = new HashMap<>();
        for (String form : forms()) {
            int samples = largest ? largest(config, form)
                    : batch.isEmpty() ? read(config, List.of()).batch().batch() : Integer.parseInt(batch);
            time(config, read(config, form, samples), form, largest, busy);
        }
    }

    private List<String> forms() {
        for (String form : forms) {
            if (!FORMS.contains(form)) {
                throw new ParameterException(spec.commandLine(), "--form: " + form + " is none of " + String.join(", ", FORMS));
            }
        }
        boolean records = !read(configs.getFirst(), List.of()).device().name().equals("cpu");
        return FORMS.stream().filter(form -> forms.isEmpty() ? records || form.equals(EAGER) : forms.contains(form)).toList();
    }

    // the last power of two times the file's batch that trains
    private int largest(Path config, String form) {
        Pipeline pipeline = read(config, List.of());
        if (pipeline.device().name().equals("cpu") && pipeline.device().memoryMib() == 0) {
            throw new LearningException("--batch largest: a CPU has no memory of its own to fill; name a device, or set device.memory_mib");
        }
        int batch = pipeline.batch().batch();
        while (fits(name(config) + " " + form, read(config, form, 2 * batch))) {
            batch *= 2;
        }
        return batch;
    }

    private boolean fits(String what, Pipeline pipeline) {
        try {
            StepBenchmark.run(pipeline, StepBenchmark.LEAST_WARM_UP, 1, ProgressListener.SILENT);
            return true;
        } catch (LearningException | GatunException e) {
            // mostly memory; whatever it is, the batch before is the largest that trains
            spec.commandLine().getErr().println(what + ", batch " + pipeline.batch().batch() + ": " + e.getMessage());
            return false;
        }
    }

    // busy: seconds that the device computes, by batch. Both forms run the same kernels, and only the captured one tells
    private void time(Path config, Pipeline pipeline, String form, boolean largest, Map<Integer, Double> busy) throws IOException {
        try {
            StepBenchmark.Times times = StepBenchmark.run(pipeline, warmUp, steps, warnings());
            times.busy().ifPresent(seconds -> busy.put(times.images(), seconds));
            Double known = busy.get(times.images());
            rows.add(new StepRow(
                    name(config), pipeline.precision(), form, times.images(), largest, times.seconds(),
                    known == null ? OptionalDouble.empty() : OptionalDouble.of(known), times.peakBytes(), times.heldBytes()));
        } catch (LearningException | GatunException e) {
            failed.addObject().put("step", name(config)).put("precision", pipeline.precision()).put("form", form)
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
