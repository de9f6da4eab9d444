// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Metrics;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.report.ComparisonReport;
import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Several pipelines under one budget. */
class CompareTest {
    private static final String BREAKS = """
            import dev.gatun.learning.*;
            import dev.gatun.tensor.Tensor;
            public class Breaks implements Method {
                private dev.gatun.tensor.layer.Encoder encoder;
                public void build(MethodBuild build) { encoder = build.encoder(); }
                public Tensor loss(dev.gatun.data.Batch batch, Step step) {
                    Tensor a = encoder.forward(step.pass(), batch.views().get(0).images());
                    Tensor b = encoder.forward(step.pass(), batch.views().get(1).images());
                    Tensor loss = a.sub(b).square().mean();
                    step.log("own", step.index());
                    return step.index() < LIMIT ? loss : loss.add(-100f).log();
                }
            }
            """;

    @TempDir
    Path folder;

    private Path config;
    private Path out;

    @BeforeEach
    void prepare() throws IOException {
        config = Tiny.config(folder, 1);
        out = folder.resolve("out");
    }

    private Gatun.Result compare(String... more) {
        return Gatun.here(command(out, more).toArray(String[]::new));
    }

    private List<String> command(Path folder, String... more) {
        List<String> command = new ArrayList<>(List.of("compare", config.toString(), "--out", folder.toString()));
        command.addAll(List.of(more));
        return command;
    }

    private String with(String method) {
        return config + ":" + method;
    }

    private Path method(int limit) throws IOException {
        return Files.writeString(folder.resolve("Breaks.java"), BREAKS.replace("LIMIT", Integer.toString(limit)));
    }

    @Test
    void aWarmUpMayBeLongerThanTheEpochsWhereStepsSayHowLongARunIs() {
        Gatun.Result result =
                compare("--budget", "32images", "--set", "schedule.steps=90", "--set", "schedule.warmup_epochs=5");
        assertEquals(0, result.status(), result.err());
    }

    @Test
    void pipelinesAndSeedsHaveTheSameBudgetAndOneReport() throws Exception {
        String[] arguments = {with("supervised"), with(method(1000).toString()), "--budget", "150images", "--seeds", "2"};
        Gatun.Result result = compare(arguments);
        assertEquals(0, result.status(), result.err());
        assertTrue(result.out().contains("run 6 of 6: tiny-Breaks-seed6, 9 steps"), result.out());
        assertTrue(result.out().lines().anyMatch(line -> line.startsWith("tiny-supervised ")), result.out());
        List<Path> checkpoints = new ArrayList<>();
        for (String name : List.of("tiny", "tiny-supervised", "tiny-Breaks")) {
            for (int seed = 5; seed <= 6; seed++) {
                Path run = out.resolve(name + "-seed" + seed);
                List<Map<String, Double>> metrics = Metrics.read(run);
                assertEquals(9, metrics.size(), "150 images are 9 batches of 16, and some");
                assertTrue(metrics.getLast().get("lr") < .1 * metrics.getFirst().get("lr"), "the schedule ends with the budget");
                assertEquals(seed, Summary.read(run).number("seed"));
                checkpoints.add(run.resolve(Trainer.CHECKPOINT));
            }
        }
        String page = Files.readString(out.resolve(ComparisonReport.FILE));
        assertFalse(page.contains("http:") || page.contains("https:") || page.contains("NaN"), "no address, no hole");
        assertEquals(2, page.split("<tr class='floor'>", -1).length - 1, "floors once");
        // nine queries asked of three encoders: 8 answers each
        assertEquals(9 * (1 + 3 * 8), page.split("<img ", -1).length - 1);
        assertTrue(page.contains("tiny-Breaks: loss by seconds") && page.contains("<th>accuracy</th>"));
        assertTrue(page.contains("--set seed=6 --set schedule.steps=9 --out " + out.resolve("tiny-seed6")));
        // pixels are scored once, an untrained encoder once a seed
        assertEquals(3, Files.readString(out.resolve("compare.json")).split("\"knn\"", -1).length - 1);

        // the same command again does nothing again
        List<Object> times = new ArrayList<>();
        for (Path file : checkpoints) {
            times.add(Files.getLastModifiedTime(file));
        }
        Gatun.Result again = compare(arguments);
        assertEquals(0, again.status(), again.err());
        assertEquals(6, again.out().lines().filter(line -> line.endsWith(" is complete")).count(), again.out());
        for (Path file : checkpoints) {
            assertEquals(times.removeFirst(), Files.getLastModifiedTime(file), file.toString());
        }

        // an edited method is another one, a third seed is new: only those run
        method(2000);
        arguments[5] = "3";
        Gatun.Result more = compare(arguments);
        assertEquals(0, more.status(), more.err());
        assertEquals(4, more.out().lines().filter(line -> line.endsWith(" is complete")).count(), more.out());
        assertTrue(more.out().contains("run 9 of 9: tiny-Breaks-seed7, 9 steps"), more.out());
    }

    @Test
    void whatFailsIsNamedAndTheOthersRun() throws Exception {
        Gatun.Result result = compare(
                with(method(4).toString()), with("supervised"), "--budget", "150images", "--set", "evaluation.features=[trained]");
        result.failsInOneLine("1 of 3 runs failed: tiny-Breaks: step 5: the loss of", "is NaN");
        assertTrue(result.err().contains("warning: run 2 of 3: tiny-Breaks failed: step 5"), result.err());
        assertTrue(result.out().lines().anyMatch(line -> line.matches("tiny-Breaks +failed: step 5: .*")), result.out());
        assertTrue(result.out().lines().anyMatch(line -> line.matches("tiny +[0-9.]+ .*")), result.out());
        String page = Files.readString(out.resolve(ComparisonReport.FILE));
        assertTrue(page.contains("tiny-Breaks failed: step 5: the loss of"), "the report says why");
        assertTrue(page.contains(" --set &#39;evaluation.features=[trained]&#39;</pre>"), "the command line as a shell takes it");

        // mended, it runs, and nothing else does
        method(1000);
        Gatun.Result mended = compare(
                with(folder.resolve("Breaks.java").toString()), with("supervised"), "--budget", "150images", "--set",
                "evaluation.features=[trained]");
        assertEquals(0, mended.status(), mended.err());
        assertEquals(2, mended.out().lines().filter(line -> line.endsWith(" is complete")).count(), mended.out());
        assertFalse(Files.readString(out.resolve(ComparisonReport.FILE)).contains("failed:"));
    }

    @Test
    void aBudgetOfSecondsIsCalibratedOnce() throws Exception {
        String[] arguments = {with("deepcluster"), "--set", "evaluation.features=[trained]", "--budget", "1s"};
        // too many clusters for the data by default: said at once, and in the table
        compare(arguments).failsInOneLine("1 of 2 runs failed: tiny-deepcluster: method: clusters: 10000 for 96 samples");
        long steps = Metrics.read(out.resolve("tiny")).size();
        assertTrue(steps >= 5, steps + " steps");
        assertFalse(Files.exists(out.resolve(".calibration")), "what calibrates is thrown away");
        Summary summary = Summary.read(out.resolve("tiny"));
        assertEquals(steps, summary.number("steps"));
        assertTrue(summary.number("seconds_train") > 0);
        assertTrue(Metrics.read(out.resolve("tiny")).getLast().get("lr") < 1e-4, "the schedule ends with the run");
        Gatun.Result again = compare(arguments);
        assertTrue(again.out().contains("run 1 of 2: tiny is complete"), again.out());
        assertFalse(again.out().contains("tiny, calibration"), again.out());
        assertEquals(steps, Metrics.read(out.resolve("tiny")).size());
    }

    @Test
    void aComparisonThatWasEndedGoesOnWhereItWas() throws Exception {
        // long enough for a signal to arrive in time on a busy machine
        String[] more = {with("supervised"), "--budget", "19200images", "--set", "evaluation.features=[trained]", "--set", "checkpoint.every_epochs=5"};
        Path second = out.resolve("tiny-supervised");
        // a background job's children ignore what a terminal sends
        Gatun running = Gatun.start(folder, List.of("env", "--default-signal=INT"), command(out, more).toArray(String[]::new))
                .until(out.resolve("tiny").resolve(Metrics.FILE));
        running.signal("INT");
        Gatun.Result interrupted = running.end();
        assertEquals(130, interrupted.status(), interrupted.err());
        assertTrue(interrupted.out().contains("stopped; the same command goes on"), interrupted.out());
        assertFalse(Files.exists(out.resolve(ComparisonReport.FILE)));
        Gatun killed = Gatun.start(folder, command(out, more).toArray(String[]::new)).until(second.resolve(Metrics.FILE));
        Path checkpoint = second.resolve(Trainer.CHECKPOINT);
        killed.untilNewer(checkpoint, Files.getLastModifiedTime(checkpoint).toMillis()).signal("KILL");
        assertEquals(137, killed.end().status());
        assertFalse(Files.exists(second.resolve(Summary.FILE)));
        Gatun.Result resumed = compare(more);
        assertEquals(0, resumed.status(), resumed.err());
        assertTrue(resumed.out().contains("run 1 of 2: tiny is complete"), resumed.out());
        assertTrue(resumed.out().contains("resumed at step "), resumed.out());

        Path whole = folder.resolve("whole");
        assertEquals(0, Gatun.here(command(whole, more).toArray(String[]::new)).status());
        for (String run : List.of("tiny", "tiny-supervised")) {
            assertArrayEquals(
                    Files.readAllBytes(whole.resolve(run).resolve(Trainer.CHECKPOINT)),
                    Files.readAllBytes(out.resolve(run).resolve(Trainer.CHECKPOINT)), run);
        }
    }

    @Test
    void badInputIsOneLine() throws IOException {
        for (String budget : List.of("", "fast", "-3s", "3 s s", "1e3s")) {
            compare("--budget", budget).failsInOneLine("budget " + budget + ": expected a number with a unit, such as 60s");
        }
        compare("--budget", "60").failsInOneLine("budget 60: of what? known units: s, m, h, images");
        compare("--budget", "3days").failsInOneLine("budget 3days: unknown unit days; known units: s, m, h, images");
        compare("--budget", "0s").failsInOneLine("budget 0s: expected more than nothing");
        compare("--budget", "15images").failsInOneLine("budget 15images: an update takes 16 images");
        compare("--budget", "32images", "--seeds", "0").failsInOneLine("expected at least 1 seed, got 0");
        compare("--budget", "32images", config.toString()).failsInOneLine("two pipelines have the name tiny");
        compare("--budget", "32images", with("nothing")).failsInOneLine("method.name: unknown name nothing; known names: ");
        compare("--budget", "32images", folder.resolve("none.yaml").toString()).failsInOneLine("none.yaml: no such file");
        compare("--budget", "32images", "--set", "model.width=3").failsInOneLine("tiny.yaml: model.width: unknown key");
        assertFalse(Files.exists(out), "nothing was started");
        assertEquals(2, compare().status());
        Files.createDirectories(out);
        Files.writeString(out.resolve("compare.json"), "{\"pipelines\": 3}");
        compare("--budget", "32images").failsInOneLine("compare.json: not the log of a comparison");
    }
}
