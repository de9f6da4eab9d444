// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.StepProfile;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.profile.Ceilings;
import dev.gatun.learning.profile.Profile;
import dev.gatun.learning.report.ProfileChart;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

@Command(
        name = "profile",
        description = {
            "Splits the time of training steps by kernel, so that what is slow can be seen: every call is timed, and what lies between the calls. "
                    + "docs/profile.md says how to read it."
        },
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "  gatun profile configs/fashion-mnist-swav.yaml",
            "  gatun profile configs/steps/swav-vit-s16.yaml --set data.batch=16 --steps 3 --shapes --svg step.svg",
        })
final class ProfileCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "CONFIG.yaml", description = "The pipeline file.")
    Path config;

    @Option(names = "--set", paramLabel = "key=value", description = "Overrides a setting; may be given several times.")
    List<String> settings = List.of();

    @Option(names = "--method", paramLabel = "NAME|FILE.java", description = "Another method than the file's, as pretrain takes it.")
    @Nullable String method;

    @Option(names = "--device", paramLabel = "NAME", description = "Where it computes: cpu, cuda, cuda:N or emulated; default the file's. On the "
            + "latter three every call is waited for, so steps are slower than they are in a run.")
    @Nullable String device;

    @Option(names = "--steps", paramLabel = "N", defaultValue = "10", description = "Profiled steps; as many more are timed without. Default: ${DEFAULT-VALUE}")
    int steps;

    @Option(names = "--warm-up", paramLabel = "N", defaultValue = "6", description = "Steps before them. Default: ${DEFAULT-VALUE}")
    int warmUp;

    @Option(names = "--shapes", description = "Also a line for each shape.")
    boolean shapes;

    @Option(names = "--json", paramLabel = "FILE", description = "Also write all numbers.")
    @Nullable Path json;

    @Option(names = "--svg", paramLabel = "FILE", description = "Also draw it.")
    @Nullable Path svg;

    @Override
    public Integer call() throws IOException {
        if (steps < 1 || warmUp < 1) {
            throw new ParameterException(spec.commandLine(), "--steps and --warm-up are at least 1");
        }
        List<String> overrides = new ArrayList<>(settings);
        if (device != null) {
            overrides.add("device.name=" + device);
        }
        overrides.add("device.capture=false");
        Pipeline pipeline = PipelineReader.read(config, overrides, method);
        PrintWriter out = spec.commandLine().getOut();
        try (Progress progress = new Progress(out, spec.commandLine().getErr())) {
            ProgressListener warnings = new Warnings(progress);
            Profile profile = StepProfile.run(pipeline, warmUp, steps, warnings);
            String name = config.getFileName().toString().replaceFirst("\\.ya?ml$", "");
            print(out, name, profile);
            if (json != null) {
                Results.write(json, document(name, profile));
            }
            if (svg != null) {
                AtomicFile.write(svg, ProfileChart.svg(name + " on " + profile.device(), profile));
            }
        }
        out.flush();
        return 0;
    }

    /** Hears warnings only: a profile has no progress to show. */
    private record Warnings(ProgressListener to) implements ProgressListener {
        @Override
        public void warning(String text) {
            to.warning(text);
        }
    }

    private void print(PrintWriter out, String name, Profile profile) {
        out.printf(Locale.ROOT, "%s on %s, %d images a step: %s, of %d steps; without profiling %s%n", name, profile.device(), profile.images(),
                Results.time(profile.seconds()), profile.steps(), Results.time(profile.plainSeconds()));
        Ceilings at = profile.ceilings();
        if (!at.copies().isEmpty()) {
            out.printf(Locale.ROOT, "ceilings: %.0f GFLOP/s f32%s, copies %s GB/s%n", at.flops() / 1e9,
                    at.matrixFlops() > 0 ? String.format(Locale.ROOT, ", %.0f GFLOP/s matrix units", at.matrixFlops() / 1e9) : "",
                    String.join(", ", at.copies().entrySet().stream()
                            .map(e -> String.format(Locale.ROOT, "%.0f (%d MiB)", e.getValue() / 1e9, e.getKey() >> 20)).toList()));
        }
        out.printf("%n%-36s %7s %7s %10s %10s %9s %7s %8s%n", "of a step", "share", "calls", "total", "mean", "GFLOP/s", "GB/s", "ceiling");
        for (Profile.Kernel k : profile.operations()) {
            line(out, k.operation(), k, profile);
            if (shapes) {
                profile.kernels().stream().filter(each -> each.operation().equals(k.operation()))
                        .forEach(each -> line(out, "  " + (each.detail() + " " + each.shapes()).strip(), each, profile));
            }
        }
        outside(out, "waiting for data", profile.waiting(), profile);
        outside(out, "memory taken and given back", profile.memory(), profile);
        outside(out, "Java, all else", profile.java(), profile);
        outside(out, "sum", profile.sum(), profile);
        if (profile.beside() > 0) {
            out.printf(Locale.ROOT, "beside it other threads were in calls for %s%n", Results.time(profile.beside()));
        }
    }

    private static void line(PrintWriter out, String name, Profile.Kernel k, Profile profile) {
        // a long line of shapes stands by itself
        String head = name.length() <= 36 ? String.format("%-36s", name) : name + String.format("%n%-36s", "");
        out.printf(Locale.ROOT, "%s %5.1f %% %7s %10s %10s %9s %7s %8s%n", head, 100 * k.seconds() / profile.seconds(), count(k.calls()),
                Results.time(k.seconds()), Results.time(k.seconds() / k.calls()), rate(k.flops(), k.seconds()), rate(k.bytes(), k.seconds()),
                Double.isNaN(k.fraction()) ? "" : String.format(Locale.ROOT, "%.0f %%", 100 * k.fraction()));
    }

    private static void outside(PrintWriter out, String name, double seconds, Profile profile) {
        out.printf(Locale.ROOT, "%-36s %5.1f %% %7s %10s%n", name, 100 * seconds / profile.seconds(), "", Results.time(seconds));
    }

    private static String count(double calls) {
        return calls == Math.rint(calls) ? Long.toString(Math.round(calls)) : String.format(Locale.ROOT, "%.1f", calls);
    }

    private static String rate(double amount, double seconds) {
        return amount == 0 ? "" : String.format(Locale.ROOT, "%.1f", amount / seconds / 1e9);
    }

    private static ObjectNode document(String name, Profile profile) {
        ObjectNode document = Results.document();
        document.put("step", name).put("device", profile.device()).put("images", profile.images()).put("steps", profile.steps());
        document.put("seconds", profile.seconds()).put("plain_seconds", profile.plainSeconds()).put("waiting_seconds", profile.waiting());
        document.put("memory_seconds", profile.memory()).put("java_seconds", profile.java()).put("beside_seconds", profile.beside());
        ObjectNode ceilings = document.putObject("ceilings");
        ceilings.put("flops", profile.ceilings().flops()).put("matrix_flops", profile.ceilings().matrixFlops());
        ObjectNode copies = ceilings.putObject("copies");
        profile.ceilings().copies().forEach((bytes, rate) -> copies.put(Long.toString(bytes), rate));
        ArrayNode kernels = document.putArray("kernels");
        for (Profile.Kernel k : profile.kernels()) {
            ObjectNode row = kernels.addObject();
            row.put("operation", k.operation()).put("detail", k.detail()).put("shapes", k.shapes()).put("calls", k.calls());
            row.put("seconds", k.seconds()).put("flops", k.flops()).put("bytes", k.bytes()).put("bound_seconds", k.boundSeconds());
        }
        return document;
    }
}
