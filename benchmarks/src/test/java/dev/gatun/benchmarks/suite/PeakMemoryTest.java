// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PeakMemoryTest {
    private static final Machine MACHINE = new Machine("Some CPU", 2, "48K 1024K", "Linux 6", "Java 25");

    private static PeakMemory peak(String environment, long ours, long modules, long oneByOne) {
        Map<String, Long> bytes = Map.of("ours", ours, "modules_masked", modules, "one_by_one_masked", oneByOne, "modules_subset", 1L, "one_by_one_subset", 1L);
        return new PeakMemory("cosub-subset", environment, bytes, "abc1234", "2026-01-01");
    }

    @Test
    void theMaskedFormThatTakesLeastDecides() {
        assertEquals("one_by_one_masked", peak("djl", 700, 1100, 1000).least());
        assertTrue(peak("djl", 700, 1100, 1000).met());
        assertFalse(peak("djl", 701, 1100, 1000).met());
    }

    @Test
    void theWorseProcessStandsAmongTheTargets() {
        Results results = new Results(MACHINE, List.of(), List.of(), List.of(peak("djl", 600, 1100, 1000), peak("djl-default", 800, 1100, 1000)));
        String page = Report.markdown(results, "plot.png");
        assertTrue(page.contains("| at most 0.7 | 0.80 | - | **no** |"), page);
        assertFalse(page.contains("| at most 0.7 | 0.60 |"), page);
    }

    @Test
    void newerPeaksTakeThePlaceOfOlderOnesAndFilesWithoutAnyAreRead(@TempDir Path directory) throws IOException {
        Results old = new Results(MACHINE, List.of(), List.of(), null).withMemory(List.of(peak("djl", 600, 1100, 1000)));
        Results merged = old.withMemory(List.of(peak("djl", 500, 1100, 1000), peak("djl-default", 800, 1100, 1000)));
        assertEquals(List.of(500L, 800L), merged.memory().stream().map(PeakMemory::ours).toList());
        Path file = directory.resolve("results.json");
        merged.write(file);
        assertEquals(merged, Results.read(file, MACHINE));
    }
}
