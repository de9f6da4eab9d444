// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The {@code gatun} command. */
@Command(
        name = "gatun",
        description = "Self-supervised and regularised learning on the JVM, on hand-written kernels.",
        mixinStandardHelpOptions = true,
        versionProvider = Version.class,
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {
            PretrainCommand.class,
            TrainCommand.class,
            CompareCommand.class,
            MethodsCommand.class,
            EvaluateCommand.class,
            EmbedCommand.class,
            DataCommand.class,
            InfoCommand.class,
            SelftestCommand.class,
            BenchCommand.class,
            BenchStepsCommand.class,
            ProfileCommand.class,
            BenchLibrariesCommand.class,
        },
        footer = {
            "",
            "A first run:",
            "  gatun pretrain configs/fashion-mnist-swav.yaml",
            "  gatun pretrain configs/fashion-mnist-swav.yaml --set seed=7 --out runs/short",
            "  gatun evaluate runs/short",
            "  gatun embed runs/short --out features.npy",
        })
public final class Main implements Runnable {
    @Spec
    CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "which command?");
    }

    public static void main(String[] arguments) {
        System.exit(run(arguments));
    }

    /** Runs the command and returns its exit status: 0 done, 1 failed, 2 used wrongly, 130 interrupted. */
    static int run(String... arguments) {
        CommandLine command = new CommandLine(new Main());
        boolean terminal = System.console() != null && System.console().isTerminal();
        command.setColorScheme(CommandLine.Help.defaultColorScheme(terminal ? Ansi.AUTO : Ansi.OFF));
        command.setCaseInsensitiveEnumValuesAllowed(true);
        command.setExecutionExceptionHandler((exception, line, parsed) -> report(line, exception));
        try {
            return command.execute(arguments);
        } catch (OutOfMemoryError e) {
            return report(command, new IllegalStateException(
                    "out of memory: " + e.getMessage() + "; GATUN_HEAP=4g gives the Java heap more", e));
        } catch (LinkageError | StackOverflowError e) {
            return report(command, new IllegalStateException(e.toString(), e));
        }
    }

    /** Says in one line what went wrong, and returns the exit status. */
    static int report(CommandLine line, Exception exception) {
        PrintWriter err = line.getErr();
        err.println(line.getColorScheme().errorText("gatun: " + oneLine(exception)));
        if (System.getenv("GATUN_DEBUG") != null) {
            exception.printStackTrace(err);
        }
        err.flush();
        return exception instanceof InterruptedException ? 130 : 1;
    }

    private static String oneLine(Throwable exception) {
        String message = exception.getMessage();
        if (message == null || message.isBlank()) {
            message = exception.getClass().getSimpleName();
        }
        // Files report their path only; the kind of trouble is in the exception's name.
        if (exception instanceof java.nio.file.FileSystemException e && e.getReason() == null) {
            message = exception.getClass().getSimpleName().replaceAll("Exception$", "") + ": " + message;
        }
        return message.replaceAll("\\s*\\R\\s*", " ");
    }
}
