// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whole steps of ours beside those of a peer. */
class StepTableTest {
    private static final long GIB = 1L << 30;

    @TempDir
    Path folder;

    private static StepRow row(String form, int batch, boolean largest, double seconds, double busy, long bytes) {
        return new StepRow("swav", "bf16", form, batch, largest, seconds, busy > 0 ? OptionalDouble.of(busy) : OptionalDouble.empty(), bytes,
                2 * bytes);
    }

    private static List<String> lines(List<StepRow> ours, List<StepRow> theirs) {
        StringWriter text = new StringWriter();
        PrintWriter out = new PrintWriter(text);
        new StepTable(ours, theirs).print(out);
        out.flush();
        return text.toString().lines().filter(line -> line.startsWith("swav")).toList();
    }

    @Test
    void everyTargetIsMetMissedOrNotMeasured() {
        List<StepRow> theirs = List.of(
                row("eager", 128, false, .2, 0, 8 * GIB), row("compile default", 128, false, .14, 0, 6 * GIB),
                row("compile max-autotune", 128, false, .13, 0, 7 * GIB));
        // 0.13 / 0.1 is the fastest compiled form's, 0.2 / 0.1 eager's
        List<String> met = lines(List.of(row("captured", 128, false, .1, .0951, 8 * GIB)), theirs);
        assertEquals(3, met.size());
        assertTrue(met.get(0).contains("130 ms, 985 images/s (max-autotune)"), met.get(0));
        assertTrue(met.get(0).contains("not measured"), met.get(0));
        assertTrue(met.get(2).matches("swav bf16 batch 128 +met \\(1\\.30\\) +met \\(2\\.00\\) +met \\(4\\.9 %\\) +met \\(1\\.00\\)"), met.get(2));
        List<String> missed = lines(List.of(row("captured", 128, false, .101, .0959, 8 * GIB + (1 << 27))), theirs);
        assertTrue(missed.get(2).matches(
                "swav bf16 batch 128 +not met \\(1\\.29\\) +not met \\(1\\.98\\) +not met \\(5\\.0 %\\) +not met \\(1\\.02\\)"), missed.get(2));
        List<String> eager = lines(List.of(row("eager", 128, false, .101, 0, 4 * GIB)), theirs);
        assertTrue(eager.get(2).matches("swav bf16 batch 128( +not measured){3} +met \\(0\\.50\\)"), eager.get(2));
    }

    @Test
    void theLargestBatchesOfTwoAreComparedByThroughput() {
        List<String> lines = lines(
                List.of(row("captured", 128, false, .1, 0, GIB), row("captured", 1024, true, .5, 0, 100 * GIB)),
                List.of(row("eager", 512, true, .5, 0, 90 * GIB)));
        assertEquals(6, lines.size());
        assertTrue(lines.get(1).startsWith("swav bf16 largest batch "), lines.get(1));
        assertTrue(lines.get(1).contains("1024: 500 ms, 2048 images/s"), lines.get(1));
        assertTrue(lines.get(1).contains("512: 500 ms, 1024 images/s"), lines.get(1));
        // bytes of two batches say nothing about each other
        assertTrue(lines.get(5).matches("swav bf16 largest batch +not measured +met \\(2\\.00\\) +not measured +not measured"), lines.get(5));
    }

    @Test
    void withoutAPeerThereAreNoTargets() {
        List<String> lines = lines(List.of(row("eager", 4, false, 1e-3, 0, GIB), row("captured", 4, false, 5e-4, 4e-4, GIB)), List.of());
        assertEquals(2, lines.size());
        assertTrue(lines.get(1).endsWith("20.0 %"), lines.get(1));
    }

    @Test
    void readsWhatIsWritten() throws IOException {
        Path file = Files.writeString(folder.resolve("torch.json"), """
                {"torch": "2.11", "steps": [
                 {"step": "swav", "precision": "bf16", "form": "compile default", "batch": 128, "largest": false, "seconds": 0.25,
                  "timed": 40, "images_per_second": 512.0, "busy_seconds": 0.2, "idle": 0.2, "peak_bytes": 1073741824, "reserved_bytes": 2147483648}],
                 "failed": [{"step": "swav", "form": "compile max-autotune", "error": "out of memory"}]}
                """);
        List<StepRow> rows = StepRow.read(file);
        assertEquals(List.of(row("compile default", 128, false, .25, .2, GIB)), rows);
        assertEquals(512, rows.getFirst().imagesPerSecond());
        assertEquals(.2, rows.getFirst().idle().orElseThrow(), 1e-12);
        assertFalse(rows.getFirst().key().contains("largest"));
        Path kernels = Files.writeString(folder.resolve("kernels.json"), "{\"rows\": [{\"operation\": \"sinkhorn\", \"seconds\": 1}]}");
        assertTrue(assertThrows(IllegalArgumentException.class, () -> StepRow.read(kernels)).getMessage().endsWith("has no steps with seconds"));
    }
}
