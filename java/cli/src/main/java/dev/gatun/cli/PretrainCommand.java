// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.Pretraining;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.Report;
import dev.gatun.learning.report.Summary;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
        name = "pretrain",
        description = "Runs the experiment that a pipeline file describes: trains, evaluates, writes a report.",
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "The run's folder holds config.yaml (every setting resolved), metrics.jsonl,",
            "checkpoint.safetensors, backbone.safetensors, summary.json and report.html; a",
            "run that was there before is replaced. Ctrl-C ends after the current step with",
            "a checkpoint; --resume goes on, to the same bytes as if it had never stopped.",
            "",
            "  gatun pretrain configs/fashion-mnist-swav.yaml --set method.prototypes=200",
            "  gatun pretrain configs/fashion-mnist-swav.yaml --method examples/MyLoss.java",
            "  gatun pretrain --resume --out runs/fashion-mnist-swav",
        })
final class PretrainCommand implements Callable<Integer> {
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

    @Option(names = "--out", paramLabel = "DIR", description = "The run's folder. Default: runs/ and the pipeline file's name.")
    @Nullable Path out;

    @Option(names = "--resume", description = "Goes on from the folder's checkpoint.")
    boolean resume;

    @Override
    public Integer call() {
        Path file = config;
        if (file == null) {
            if (!resume || out == null) {
                throw new picocli.CommandLine.ParameterException(
                        spec.commandLine(), "which pipeline file? (it may be left out with --resume --out DIR only)");
            }
            file = out.resolve(Trainer.CONFIG);
        }
        Pipeline pipeline = PipelineReader.read(file, settings, method);
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

    private void print(Summary summary, Path folder) {
        var out = spec.commandLine().getOut();
        out.println(ScoreTable.of(summary.values().get("scores")));
        out.println("report: " + folder.resolve(Report.FILE).toAbsolutePath().normalize());
        out.flush();
    }

    /** Ctrl-C asks the run to stop; the program ends when it has written its checkpoint, if one is due. */
    private static final class Interruption {
        private final Object done = new Object();
        private final Thread hook;
        private boolean over;

        Interruption(BooleanSupplier requestStop) {
            hook = new Thread(() -> {
                if (!requestStop.getAsBoolean()) {
                    return;
                }
                synchronized (done) {
                    while (!over) {
                        try {
                            done.wait();
                        } catch (InterruptedException e) {
                            return;
                        }
                    }
                }
            });
            Runtime.getRuntime().addShutdownHook(hook);
        }

        void finished() {
            synchronized (done) {
                over = true;
                done.notifyAll();
            }
            try {
                Runtime.getRuntime().removeShutdownHook(hook);
            } catch (IllegalStateException e) {
                // The program is ending already, because of Ctrl-C.
            }
        }
    }
}
