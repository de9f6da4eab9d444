// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.primitives.DeviceKind;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What {@code selftest} and {@code bench} have in common. */
final class TrialOptions {
    @Option(names = "--device", paramLabel = "NAME", defaultValue = "cpu", description = "cpu, cuda or emulated; default cpu.")
    String device = "cpu";

    @Option(names = "--op", paramLabel = "NAME", description = "Only this operation; may be given several times.")
    List<String> operations = new ArrayList<>();

    @Option(names = "--quick", description = "Less of everything, less certain.")
    boolean quick;

    @Option(names = "--json", paramLabel = "FILE", description = "Also write every row.")
    @Nullable Path json;

    Trials trials() {
        return Trials.of(DeviceKind.of(device));
    }

    /** As the program takes them, with some more of the command's own. */
    List<String> arguments(String... more) {
        List<String> arguments = Trials.arguments(operations);
        arguments.addAll(List.of(more));
        if (quick) {
            arguments.add("--quick");
        }
        return arguments;
    }
}
