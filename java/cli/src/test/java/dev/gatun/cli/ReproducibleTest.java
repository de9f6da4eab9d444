// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Metrics;
import dev.gatun.learning.Pretraining;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.report.Report;
import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A seed and a thread count give the same bytes, whatever happens to the program on the way. */
class ReproducibleTest {
    private static final int EPOCHS = 30;
    private static final int STEPS = EPOCHS * Tiny.TRAIN / 16;

    /** Another moment in every run of the tests; a failure's message names it. */
    private static final long SEED = Long.getLong("gatun.test.seed", System.nanoTime());

    /** A shell's background jobs ignore Ctrl-C, and what they start inherits that. */
    private static final List<String> INTERRUPTIBLE = List.of("env", "--default-signal=INT");

    @TempDir
    Path folder;

    private Path config;

    private String[] pretrain(String out, String... more) {
        List<String> arguments = new ArrayList<>(List.of("pretrain", config.toString(), "--out", folder.resolve(out).toString()));
        arguments.addAll(List.of(more));
        return arguments.toArray(String[]::new);
    }

    private byte[] bytes(String run, String file) throws IOException {
        return Files.readAllBytes(folder.resolve(run).resolve(file));
    }

    private void assertSame(String expected, String actual, String how) throws IOException {
        for (String file : List.of(Trainer.CHECKPOINT, Pretraining.BACKBONE)) {
            assertArrayEquals(bytes(expected, file), bytes(actual, file), file + ", " + how);
        }
        // every step is logged once, in order, with the same numbers
        List<Map<String, Double>> metrics = Metrics.read(folder.resolve(actual));
        List<Map<String, Double>> other = Metrics.read(folder.resolve(expected));
        assertEquals(other.size(), metrics.size(), how);
        for (int i = 0; i < metrics.size(); i++) {
            assertEquals(i + 1.0, metrics.get(i).get("step"), how);
            for (String name : List.of("loss", "lr", "gradient_norm")) {
                assertEquals(other.get(i).get(name), metrics.get(i).get(name), name + ", " + how);
            }
        }
    }

    // no test part: the whole time is training
    private void tiny(String more) throws IOException {
        config = Tiny.config(folder, EPOCHS, more);
        Files.writeString(config, Files.readString(config).replaceAll("(?s),\\s*test_images: .*?, test_labels: .*?,", ","));
    }

    /** Kills the command at several moments of its training, resumes it each time, and compares the end. */
    private void killed(int kills, int steps, String more, String... settings) throws Exception {
        tiny(more);
        Gatun whole = Gatun.start(folder, pretrain("whole", settings)).until(folder.resolve("whole/" + Metrics.FILE));
        long started = System.nanoTime();
        Gatun.Result result = whole.end();
        assertEquals(0, result.status(), result.err());
        long milliseconds = (System.nanoTime() - started) / 1_000_000;

        SplittableRandom random = new SplittableRandom(SEED);
        StringBuilder how = new StringBuilder("gatun.test.seed=" + SEED + ", killed after ms");
        List<String> resumed = new ArrayList<>(List.of(settings));
        int hits = 0;
        for (int kill = 0; kill < kills; kill++) {
            long delay = random.nextLong(1 + milliseconds * 2 / 3 / kills);
            how.append(' ').append(delay);
            Path begun = folder.resolve("part/" + Metrics.FILE);
            long before = kill == 0 ? 0 : Files.getLastModifiedTime(begun).toMillis();
            Gatun part = Gatun.start(folder, pretrain("part", resumed.toArray(String[]::new)));
            part.untilNewer(begun, before);
            Thread.sleep(delay);
            part.signal("KILL");
            Gatun.Result end = part.end();
            hits += end.status() == 137 ? 1 : 0;
            if (kill == 0) {
                resumed.add("--resume");
            }
        }
        System.out.println(how + ": " + hits + " of " + kills + " kills hit the training");
        assertTrue(hits > 0, how.toString());
        Gatun.Result last = Gatun.here(pretrain("part", resumed.toArray(String[]::new)));
        assertEquals(0, last.status(), how + ": " + last.err());
        assertTrue(last.out().contains("resumed at step "), last.out());
        assertSame("whole", "part", how.toString());
        assertEquals(steps, Metrics.read(folder.resolve("part")).size());
    }

    @Test
    void twoRunsGiveTheSameBytesAndAnotherSeedOthers() throws Exception {
        config = Tiny.config(folder, 2);
        Gatun.Result first = Gatun.run(folder, pretrain("a"));
        assertEquals(0, first.status(), first.err());
        assertEquals(0, Gatun.here(pretrain("b")).status());
        assertSame("a", "b", "two runs");
        assertEquals(0, Gatun.here(pretrain("c", "--set", "seed=6")).status());
        assertFalse(Arrays.equals(bytes("a", Trainer.CHECKPOINT), bytes("c", Trainer.CHECKPOINT)));

        // a pipe gets progress as lines, and no control characters
        assertTrue(first.out().contains("step 12/12  epoch 2/2  loss "), first.out());
        assertTrue(first.out().contains("images/s"), first.out());
        assertFalse(first.out().contains("\u001b") || first.err().contains("\u001b"), first.out() + first.err());
        assertFalse(first.out().contains("\r"), first.out());
    }

    @Test
    void killedOnceAndResumed() throws Exception {
        killed(1, STEPS, "", "--set", "checkpoint.every_epochs=20");
    }

    @Test
    void killedSeveralTimesWithAQueueAndAccumulation() throws Exception {
        killed(3, STEPS / 2, "checkpoint: {every_steps: 7}\n",
                "--set", "method.queue=48", "--set", "method.queue_start_epoch=1", "--set", "data.accumulate=2");
    }

    /** Clusters, their labels and the order of an epoch, a head that is made anew, and dropped branches: all must come back. */
    @Test
    void killedWhileImagesAreClusteredBetweenEpochs() throws Exception {
        killed(3, STEPS / 2, "checkpoint: {every_steps: 4}\n",
                "--method", "deepcluster", "--set", "method.clusters=8", "--set", "method.hidden=16", "--set", "method.components=6",
                "--set", "method.iterations=3", "--set", "data.accumulate=2", "--set",
                "model={name: resnet, depths: [1, 1], widths: [4, 8], drop_path: .4, drop_path_form: subset}");
    }

    @Test
    void interruptedEndsWithACheckpointAndStatus130() throws Exception {
        tiny("checkpoint: {every_epochs: 1000}\n"); // none is due before the end: the one there is comes from the interruption
        assertEquals(0, Gatun.here(pretrain("whole")).status());
        interrupted("pipe", INTERRUPTIBLE);
        // a terminal, with its progress bar: no library in between may take the signal
        String end = interrupted("terminal", List.of(
                "bash", "-c", "SHELL=/bin/bash exec script -qec \"$(printf '%q ' env --default-signal=INT \"$@\")\" /dev/null", "in"));
        assertTrue(end.contains("%") && end.contains("images/s"), end);
    }

    private String interrupted(String name, List<String> prefix) throws Exception {
        Gatun part = Gatun.start(folder, prefix, pretrain(name)).until(folder.resolve(name).resolve(Metrics.FILE));
        Thread.sleep(new SplittableRandom(SEED).nextLong(100));
        part.signal("INT");
        Gatun.Result end = part.end();
        String how = name + ", gatun.test.seed=" + SEED + ": ";
        assertEquals(130, end.status(), how + end.out() + end.err());
        assertTrue(end.out().contains("stopped after step "), how + end.out());
        int steps = Metrics.read(folder.resolve(name)).size();
        assertTrue(steps > 0 && steps < STEPS, how + "after " + steps);
        Gatun.Result resumed = Gatun.here("pretrain", "--resume", "--out", folder.resolve(name).toString());
        assertEquals(0, resumed.status(), how + resumed.err());
        assertTrue(resumed.out().contains("resumed at step " + steps + " of " + STEPS), how + resumed.out());
        assertSame("whole", name, how);
        return end.out();
    }

    @Test
    void interruptedWhileEvaluatingEndsAtOnceAndIsCompletedByResume() throws Exception {
        config = Tiny.config(folder, 1);
        // so many epochs of a probe that only the interruption can end them in time
        String[] slow = pretrain("run", "--set", "evaluation.pixel_epochs=100000000");
        Gatun run = Gatun.start(folder, INTERRUPTIBLE, slow).until(folder.resolve("run/" + Pretraining.BACKBONE));
        run.signal("INT");
        assertEquals(130, run.end().status());
        byte[] checkpoint = bytes("run", Trainer.CHECKPOINT);
        assertFalse(Files.exists(folder.resolve("run").resolve(Summary.FILE)));
        // the evaluation may be another when the run goes on
        Gatun.Result resumed = Gatun.here(pretrain("run", "--resume", "--set", "evaluation.pixel_epochs=1"));
        assertEquals(0, resumed.status(), resumed.err());
        assertTrue(Files.exists(folder.resolve("run").resolve(Summary.FILE)));
        assertArrayEquals(checkpoint, bytes("run", Trainer.CHECKPOINT));
    }

    @Test
    void aNewRunLeavesNothingOfTheOldOne() throws Exception {
        config = Tiny.config(folder, 1);
        assertEquals(0, Gatun.here(pretrain("run")).status());
        assertTrue(Files.exists(folder.resolve("run").resolve(Report.FILE)));
        byte[] old = bytes("run", Trainer.CHECKPOINT);
        Path broken = Files.writeString(folder.resolve("NoLoss.java"), """
                public class NoLoss implements dev.gatun.learning.Method {
                    public void build(dev.gatun.learning.MethodBuild build) {}
                    public dev.gatun.tensor.Tensor loss(dev.gatun.data.Batch batch, dev.gatun.learning.Step step) {
                        throw new IllegalStateException("no loss today");
                    }
                }
                """);
        Gatun.here(pretrain("run", "--method", broken.toString())).failsInOneLine("no loss today");
        for (String file : List.of(Report.FILE, Summary.FILE, Pretraining.BACKBONE)) {
            assertFalse(Files.exists(folder.resolve("run").resolve(file)), file);
        }
        assertNotEquals(old.length, bytes("run", Trainer.CHECKPOINT).length);
    }
}
