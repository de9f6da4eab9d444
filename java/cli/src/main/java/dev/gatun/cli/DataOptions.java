// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Options of commands that look at data with a finished run. */
final class DataOptions {
    @Option(names = "--data", paramLabel = "PATH", description = "Other data of the run's kind: its folder (data.path).")
    @Nullable String path;

    @Option(names = "--set", paramLabel = "key=value", description = "Overrides a setting of the run; may be given several times.")
    List<String> settings = List.of();

    List<String> overrides() {
        List<String> all = new ArrayList<>();
        if (path != null) {
            all.add("data.path=" + path);
        }
        all.addAll(settings);
        return all;
    }
}
