// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.Pretraining;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.Report;
import dev.gatun.learning.report.Summary;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** What {@code pretrain} and {@code train} share: one run of one pipeline file. */
abstract class RunCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "CONFIG.yaml", description = "The pipeline file. With --resume it may be left out: the run's own is taken.",
            arity = "0..1")
    @Nullable Path config;

    @Option(names = "--set", paramLabel = "key=value", description = "Overrides a setting; may be given several times.")
    List<String> settings = List.of();

    @Option(names = "--method", paramLabel = "NAME|FILE.java",
            description = "Another method than the file's: a name, or your own in one .java file, compiled as it is read.")
    @Nullable String method;

    @Option(names = "--device", paramLabel = "NAME",
            description = "Where it computes: cpu, cuda, cuda:N or emulated. The same as --set device.name=NAME.")
    @Nullable String device;

    @Option(names = "--out", paramLabel = "DIR", description = "The run's folder. Default: runs/ and the pipeline file's name.")
    @Nullable Path out;

    @Option(names = "--resume", description = "Goes on from the folder's checkpoint.")
    boolean resume;

    /** Fails in one line if the pipeline is not one for this command. */
    abstract void check(Pipeline pipeline);

    @Override
    public Integer call() {
        Path file = config;
        if (file == null) {
            if (!resume || out == null) {
                throw new ParameterException(
                        spec.commandLine(), "which pipeline file? (it may be left out with --resume --out DIR only)");
            }
            file = out.resolve(Trainer.CONFIG);
        }
        List<String> overrides = new ArrayList<>(settings);
        if (device != null) {
            overrides.add("device.name=" + device);
        }
        Pipeline pipeline = PipelineReader.read(file, overrides, method);
        check(pipeline);
        Path folder = out != null ? out : Path.of("runs", file.getFileName().toString().replaceFirst("\\.ya?ml$", ""));
        try (Progress progress = new Progress(spec.commandLine().getOut(), spec.commandLine().getErr())) {
            Pretraining run = new Pretraining(pipeline, folder, progress);
            Interruption interruption = new Interruption(run::requestStop);
            try {
                Optional<Summary> summary = run.run(resume);
                progress.close();
                summary.ifPresent(s -> print(s, folder));
                return summary.isPresent() ? 0 : 130;
            } catch (RuntimeException e) {
                // said here: once the interruption is over, the program may end before anybody else could
                progress.close();
                return Main.report(spec.commandLine(), e);
            } finally {
                interruption.finished();
            }
        }
    }

    private static String memory(Summary summary) {
        String device = String.valueOf(summary.values().get("device"));
        return "memory: the training's tensors " + mib(summary, "peak_training_bytes")
                + (device.equals("cpu") ? "" : ", all that it took of " + device + " " + mib(summary, "peak_device_bytes"))
                + ", the process " + mib(summary, "peak_memory_bytes");
    }

    private static String mib(Summary summary, String key) {
        double bytes = summary.number(key);
        return Double.isFinite(bytes) ? String.format(Locale.ROOT, "%,.1f MiB", bytes / (1 << 20)) : "unknown, for the run was resumed";
    }

    private void print(Summary summary, Path folder) {
        var out = spec.commandLine().getOut();
        out.println(ScoreTable.of(summary.values().get("scores")));
        double accuracy = summary.number("test_accuracy");
        if (Double.isFinite(accuracy)) {
            out.println(String.format(Locale.ROOT, "accuracy %.2f %% of the test images by the classifier itself, cross-entropy %.4f%n",
                    accuracy, summary.number("test_loss")));
        }
        out.println(String.format(Locale.ROOT, "data: %.1f %% of the training was waiting for images", 100 * summary.number("waiting_share")));
        out.println(memory(summary));
        out.println("report: " + folder.resolve(Report.FILE).toAbsolutePath().normalize());
        out.flush();
    }
}
