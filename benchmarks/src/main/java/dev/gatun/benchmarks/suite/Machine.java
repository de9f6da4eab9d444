// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * The machine that measures.
 *
 * @param processor as the system names it
 * @param cores that it offers
 * @param caches of the first core, "48K 1024K 32768K"
 */
record Machine(String processor, int cores, String caches, String system, String java) {
    static Machine here() throws IOException {
        String processor = System.getProperty("os.arch");
        Path cpuinfo = Path.of("/proc/cpuinfo");
        if (Files.exists(cpuinfo)) {
            processor = Files.readAllLines(cpuinfo).stream()
                    .filter(line -> line.startsWith("model name"))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip())
                    .findFirst()
                    .orElse(processor);
        }
        StringBuilder caches = new StringBuilder();
        for (int index : new int[] {0, 2, 3}) {
            Path size = Path.of("/sys/devices/system/cpu/cpu0/cache/index" + index + "/size");
            if (Files.exists(size)) {
                caches.append(caches.isEmpty() ? "" : " ").append(Files.readString(size).strip());
            }
        }
        return new Machine(
                processor,
                Runtime.getRuntime().availableProcessors(),
                caches.toString(),
                System.getProperty("os.name") + " " + System.getProperty("os.version").replaceFirst("-.*", ""),
                "Java " + Runtime.version());
    }

    /** Its name as a file's: amd-epyc-9355-2-cores. */
    String slug() {
        String name = processor.toLowerCase(Locale.ROOT).replaceAll("\\((r|tm)\\)|processor|cpu|@.*", "");
        return (name + "-" + cores + "-cores").replaceAll("[^a-z0-9]+", "-").replaceAll("^-|-$", "");
    }
}
