// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.benchmarks.suite.Statistics.Estimate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
    private static final Machine MACHINE = new Machine("Intel(R) Xeon(R) CPU @ 2.00GHz", 2, "32K 1M 32M", "Linux", "Java 25");

    @TempDir
    private Path directory;

    private static Estimate exactly(double value) {
        return new Estimate(value, value, value);
    }

    private static Measured row(String shape, String environment, double fraction, Map<String, Double> ratios, Map<String, Double> targets) {
        Map<String, Estimate> estimates = new java.util.TreeMap<>();
        Map<String, Estimate> nanos = new java.util.TreeMap<>(
                Map.of("ours", exactly(1e6), "fma", exactly(0.0025), "copy", exactly(0.02)));
        ratios.forEach((form, ratio) -> {
            estimates.put(form, exactly(ratio));
            nanos.put(form, exactly(1e6 * ratio));
        });
        return new Measured(
                "attention", Map.of("shape", shape), environment, "PyTorch 2.7.1", "avx512", "f32", 2, 11, 1e8, 1e6, nanos, exactly(fraction),
                estimates, targets, "abc1234", "2026-01-01", "");
    }

    @Test
    void theNearestFormOfTheNearestBuildDecides() {
        List<Measured> rows = List.of(
                row("64x64", "djl", 0.5, Map.of("sdpa", 3.0, "naive", 2.5), Map.of("", 2.0)),
                row("64x64", "presets", 0.5, Map.of("sdpa", 1.9, "naive", 4.0), Map.of("", 2.0)),
                row("64x64", "djl-default", 0.5, Map.of("sdpa", 1.1), Map.of("", 2.0)));
        Verdict verdict = Verdict.of(rows).getFirst();
        assertEquals(1.9, verdict.nearest(PeerEnvironment.Kind.TUNED, "").orElseThrow().ratio().median());
        assertEquals(2.5, verdict.nearest(PeerEnvironment.Kind.TUNED, "naive").orElseThrow().ratio().median());
        assertEquals(Verdict.Met.NO, verdict.met().orElseThrow());
    }

    @Test
    void aTargetIsMetByEveryRatioOrNearTheCeiling() {
        Map<String, Double> both = Map.of("sdpa", 2.0, "naive", 3.0);
        assertEquals(Verdict.Met.YES, met(row("a", "djl", 0.5, Map.of("sdpa", 2.0, "naive", 3.1), both)));
        assertEquals(Verdict.Met.NO, met(row("a", "djl", 0.5, Map.of("sdpa", 2.0, "naive", 2.9), both)));
        assertEquals(Verdict.Met.BY_THE_CEILING, met(row("a", "djl", 0.86, Map.of("sdpa", 1.0, "naive", 1.0), both)));
        // no peer measured: not met
        assertEquals(Verdict.Met.NO, met(row("a", "djl", 0.5, Map.of(), both)));
    }

    @Test
    void aTargetWithinTheIntervalIsSaidToBe() {
        assertEquals(Verdict.Met.BY_THE_MEDIAN, met(within(new Estimate(2.1, 1.9, 2.3), 0.86)));
        assertEquals(Verdict.Met.YES, met(within(new Estimate(2.1, 2.0, 2.3), 0.5)));
        assertEquals(Verdict.Met.NOT_BY_THE_MEDIAN, met(within(new Estimate(1.9, 1.8, 2.1), 0.5)));
        assertEquals(Verdict.Met.BY_THE_CEILING, met(within(new Estimate(1.9, 1.8, 2.1), 0.86)));
        String page = Report.markdown(new Results(MACHINE, List.of(within(new Estimate(1.9, 1.8, 2.1), 0.5)), List.of(), List.of()), "plot.png");
        assertTrue(page.contains("| attention a | 2 | 1.90 [1.80, 2.10] | 50 % | **no**, interval straddles |"), page);
        assertTrue(page.indexOf("## Targets") < page.indexOf("## attention"), page);
    }

    @Test
    void thePageSaysEachRowsDtype() {
        Measured single = row("a", "djl", 0.5, Map.of("sdpa", 2.5), Map.of());
        Measured other = row("b", "djl", 0.5, Map.of("sdpa", 2.5), Map.of());
        Measured half = new Measured(
                other.operation(), other.parameters(), other.environment(), other.peer(), other.isa(), "bf16", other.threads(), other.rounds(),
                other.flops(), other.bytes(), other.nanos(), other.fraction(), other.ratios(), other.targets(), other.commit(), other.date(), "");
        String page = Report.markdown(new Results(MACHINE, List.of(single, half), List.of(), List.of()), "plot.png");
        assertTrue(page.contains("Dtypes and commits, each row's in the last table: bf16, f32; abc1234."), page);
        assertTrue(page.contains("| attention | a | f32 | djl | abc1234 |"), page);
        assertTrue(page.contains("| attention | b | bf16 | djl | abc1234 |"), page);
    }

    /** A row with a target of 2. */
    private static Measured within(Estimate ratio, double fraction) {
        Measured row = row("a", "djl", fraction, Map.of("sdpa", ratio.median()), Map.of("", 2.0));
        return new Measured(
                row.operation(), row.parameters(), row.environment(), row.peer(), row.isa(), row.dtype(), row.threads(), row.rounds(),
                row.flops(), row.bytes(), row.nanos(), row.fraction(), Map.of("sdpa", ratio), row.targets(), row.commit(), row.date(), "");
    }

    private static Verdict.Met met(Measured row) {
        return Verdict.of(List.of(row)).getFirst().met().orElseThrow();
    }

    @Test
    void nd4jStandsBesideAndDecidesNothing() {
        Measured torch = row("a", "djl", 0.5, Map.of("sdpa", 2.5), Map.of("", 2.0));
        Measured nd4j = row("a", "nd4j", 0.5, Map.of("dot_product_attention", 0.5), Map.of("", 2.0));
        assertEquals(Verdict.Met.YES, Verdict.of(List.of(torch, nd4j)).getFirst().met().orElseThrow());
        String page = Report.markdown(new Results(MACHINE, List.of(torch, nd4j), List.of(), List.of()), "plot.png");
        assertTrue(page.contains("| ND4J |") && page.contains("| 0.50 [0.50, 0.50] |"), page);
        assertFalse(Report.markdown(new Results(MACHINE, List.of(torch), List.of(), List.of()), "plot.png").contains("| ND4J |"));
    }

    @Test
    void rowsThatMayErrAreShownAndNotCounted() {
        Measured exact = row("a", "djl", 0.5, Map.of("sdpa", 2.0), Map.of());
        Measured erring = row("a-winograd", "djl", 0.5, Map.of("sdpa", 8.0), Map.of());
        String page = Report.markdown(new Results(MACHINE, List.of(exact, erring), List.of(), List.of()), "plot.png");
        assertTrue(page.contains("Of 1 exact rows with a peer ours is faster in 1; geometric mean of their ratios 2.00."), page);
        assertTrue(page.contains("| a-winograd | 2 |") && page.contains("8.00 [8.00, 8.00]"), page);
        assertTrue(page.contains("| attention | a-winograd | f32 | djl | abc1234 | "), page);
    }

    @Test
    void everyComparisonHasALegend() {
        RowKey.all().forEach(key -> assertTrue(Legend.of(key.operation()).startsWith("Rows: "), key.operation()));
    }

    @Test
    void whatDisturbsTheTurnsOfOthersIsMeasuredOnlyWhereAskedForAndNotRecorded() {
        assertTrue(PeerEnvironment.all().stream().allMatch(PeerEnvironment::recorded));
        assertEquals(List.of("openblas"), PeerEnvironment.asked().stream().filter(one -> !one.recorded()).map(PeerEnvironment::name).toList());
    }

    @Test
    void lossesStayInThePage() {
        Results results = new Results(MACHINE, List.of(row("9x9", "djl", 0.3, Map.of("sdpa", 0.5), Map.of("", 2.0))), List.of(new CallCost("sinkhorn", 130, 60, 0, "abc1234", "2026-01-01")), List.of());
        String page = Report.markdown(results, "plot.png");
        assertTrue(page.contains("faster in 0"), page);
        assertTrue(page.contains("0.50 [0.50, 0.50]") && page.contains("**no**"), page);
        assertTrue(page.contains("Targets met: 0 of 1"), page);
        assertTrue(page.contains("| sinkhorn | 130.0 ns | 60.0 ns | 70.0 ns | 0.0 |"), page);
        assertTrue(page.contains("(sinkhorn, the slowest of 1) | 60 ns, 0 B | 70.0 ns, 0.0 B | - | **no** |"), page);
        assertTrue(page.lines().noneMatch(line -> line.contains("NaN") || line.contains("null")), page);
    }

    @Test
    void aRowMeasuredAgainReplacesItsOlderAndAFailedOneDoesNot() throws IOException {
        Path file = directory.resolve("results/machine.json");
        Measured old = row("9x9", "djl", 0.3, Map.of("sdpa", 0.5), Map.of());
        Measured other = row("8x8", "djl", 0.3, Map.of("sdpa", 0.7), Map.of());
        Results.read(file, MACHINE).merged(List.of(old, other)).write(file);
        Measured again = row("9x9", "djl", 0.3, Map.of("sdpa", 1.5), Map.of());
        Measured failed = new Measured(
                "attention", other.parameters(), "djl", "", "", "", 2, 0, 0, 0, Map.of(), exactly(0), Map.of(), Map.of(), "", "", "broken");
        Results.read(file, MACHINE).merged(List.of(again, failed)).write(file);
        Results read = Results.read(file, MACHINE);
        assertEquals(List.of(again, other), read.rows());
        assertEquals(MACHINE, read.machine());
        assertFalse(Files.exists(directory.resolve("results/machine.json.part")));
    }

    @Test
    void theMachinesNameIsThatOfAFile() {
        assertEquals("intel-xeon-2-cores", MACHINE.slug());
        assertEquals("amd-epyc-2-cores", new Machine("AMD EPYC", 2, "", "", "").slug());
    }

    @Test
    void thePlotIsAPicture() throws IOException {
        Path file = directory.resolve("plot.png");
        Plot.write(new Results(MACHINE, List.of(row("9x9", "djl", 0.3, Map.of("sdpa", 0.5), Map.of("", 2.0))), List.of(), List.of()), file);
        assertTrue(ImageIO.read(file.toFile()).getWidth() > 100);
    }
}
