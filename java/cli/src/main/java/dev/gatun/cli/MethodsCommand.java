// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.pipeline.Methods;
import java.io.PrintWriter;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
        name = "methods",
        description = "Lists the methods: where each is from, what it needs, a command that runs it.",
        mixinStandardHelpOptions = true,
        footer = {
            "",
            "  gatun methods",
            "  gatun methods swav                    its settings and their defaults",
            "  gatun methods examples/MyLoss.java    your own",
        })
final class MethodsCommand implements Callable<Integer> {
    private static final String ROW = "%-15s %-22s %-27s %s%n";

    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "NAME|FILE.java", description = "Shows one method in full.", arity = "0..1")
    @Nullable String name;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        if (name == null) {
            out.printf(ROW, "method", "paper", "needs", "run it with: gatun");
            for (MethodProvider method : Methods.all()) {
                out.printf(ROW, method.name(), method.citation(), method.needs(), command(method));
            }
        } else {
            show(Methods.find(name), out);
        }
        return 0;
    }

    private static void show(MethodProvider method, PrintWriter out) {
        out.println(method.name());
        out.println("paper  " + method.paper());
        if (!method.needs().isEmpty()) {
            out.println("needs  " + method.needs());
        }
        out.println("run    gatun " + command(method));
        if (!method.advice().isEmpty()) {
            out.println("stuck  a loss that does not fall: try " + method.advice());
        }
        Map<String, Object> defaults = Methods.defaults(method);
        if (defaults.isEmpty()) {
            out.println("The section method has no other keys than name.");
            return;
        }
        out.println("keys of the section method, with their defaults:");
        defaults.forEach((key, value) -> out.printf("  %-20s %s%n", key, value));
    }

    /** A method of a file goes into any pipeline; the others have a pipeline file of their own. */
    private static String command(MethodProvider method) {
        if (Methods.isFile(method.name())) {
            return "pretrain configs/fashion-mnist-swav.yaml --method " + method.name();
        }
        return method.config().isEmpty() ? "" : (Methods.classifies(method) ? "train" : "pretrain") + " configs/" + method.config();
    }
}
