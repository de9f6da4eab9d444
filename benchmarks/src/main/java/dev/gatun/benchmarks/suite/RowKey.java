// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.Comparison;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.openjdk.jmh.runner.BenchmarkList;
import org.openjdk.jmh.runner.BenchmarkListEntry;
import org.openjdk.jmh.runner.format.OutputFormatFactory;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * A row to measure: a benchmark with values for its parameters.
 *
 * @param benchmark class and method, as JMH names them
 */
record RowKey(String benchmark, Map<String, String> parameters) {
    private static final String METHOD = ".round";

    /** attention, layer_norm ...: the class without its ending, as everywhere else in the project. */
    String operation() {
        String name = benchmark.substring(0, benchmark.length() - METHOD.length());
        name = name.substring(name.lastIndexOf('.') + 1).replaceFirst("Benchmark$", "");
        return name.replaceAll("(?<=[a-z0-9])(?=[A-Z])", "_").toLowerCase(Locale.ROOT);
    }

    String label() {
        return String.join(" ", parameters.values());
    }

    /** Every comparison that JMH's annotations declare, in the order of names; parameters in the order of values. */
    static List<RowKey> all() {
        List<RowKey> rows = new ArrayList<>();
        Set<BenchmarkListEntry> entries = new TreeSet<>(BenchmarkList.defaultList()
                .find(OutputFormatFactory.createFormatInstance(System.out, VerboseMode.SILENT), List.of(".*\\.round$"), List.of()));
        for (BenchmarkListEntry entry : entries) {
            if (!compares(entry)) {
                continue;
            }
            List<Map<String, String>> combinations = new ArrayList<>();
            combinations.add(new LinkedHashMap<>());
            entry.getParams().orElse(Map.of()).forEach((name, values) -> {
                if (!name.equals("threads")) {
                    List<Map<String, String>> longer = new ArrayList<>();
                    for (Map<String, String> combination : combinations) {
                        for (String value : values) {
                            Map<String, String> more = new LinkedHashMap<>(combination);
                            more.put(name, value);
                            longer.add(more);
                        }
                    }
                    combinations.clear();
                    combinations.addAll(longer);
                }
            });
            combinations.forEach(combination -> rows.add(new RowKey(entry.getUsername(), combination)));
        }
        return rows;
    }

    private static boolean compares(BenchmarkListEntry entry) {
        try {
            return Comparison.class.isAssignableFrom(Class.forName(entry.getUserClassQName()));
        } catch (ClassNotFoundException e) {
            throw new IllegalStateException(e);
        }
    }
}
