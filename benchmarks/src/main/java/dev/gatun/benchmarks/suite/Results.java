// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/** What one machine measured: a file of JSON, in which a row that is measured again takes the place of the older. */
record Results(Machine machine, List<Measured> rows, List<CallCost> calls, @Nullable List<PeakMemory> memory) {
    private static final JsonMapper JSON =
            JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    Results {
        // older files have none
        memory = memory == null ? List.of() : memory;
    }

    static Results read(Path file, Machine machine) throws IOException {
        return Files.exists(file) ? JSON.readValue(Files.readAllBytes(file), Results.class) : new Results(machine, List.of(), List.of(), List.of());
    }

    void write(Path file) throws IOException {
        Files.createDirectories(file.toAbsolutePath().getParent());
        Path part = file.resolveSibling(file.getFileName() + ".part");
        Files.writeString(part, JSON.writeValueAsString(this) + "\n");
        Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
    }

    /** These with newer rows in place of their own; failed ones change nothing, a file of figures has no use for them. */
    Results merged(List<Measured> newer) {
        Map<String, Measured> byKey = new LinkedHashMap<>();
        rows.forEach(row -> byKey.put(key(row), row));
        newer.stream().filter(row -> row.failure().isEmpty()).forEach(row -> byKey.put(key(row), row));
        List<Measured> all = new ArrayList<>(byKey.values());
        // stable: the parameters' order is the benchmark's
        all.sort(Comparator.comparing(Measured::operation));
        return new Results(machine, all, calls, memory);
    }

    Results withCalls(List<CallCost> newer) {
        return newer.isEmpty() ? this : new Results(machine, rows, newer, memory);
    }

    Results withMemory(List<PeakMemory> newer) {
        Map<String, PeakMemory> byKey = new LinkedHashMap<>();
        memory.forEach(peak -> byKey.put(peak.step() + peak.environment(), peak));
        newer.forEach(peak -> byKey.put(peak.step() + peak.environment(), peak));
        return new Results(machine, rows, calls, List.copyOf(byKey.values()));
    }

    private static String key(Measured row) {
        return row.operation() + row.parameters() + row.environment() + row.threads();
    }
}
