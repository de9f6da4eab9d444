// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.Metrics;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.pipeline.PipelineReader;
import dev.gatun.learning.report.Report;
import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What a run leaves for use elsewhere. */
class ResultsTest {
    @TempDir
    Path folder;

    private JsonNode summary(String run) throws IOException {
        return JsonMapper.builder().build().readTree(Files.readString(folder.resolve(run).resolve(Summary.FILE)));
    }

    @Test
    void evaluationAndFeaturesOfARun() throws IOException {
        Path config = Tiny.config(folder, 2);
        String run = folder.resolve("run").toString();
        Gatun.Result trained = Gatun.here("pretrain", config.toString(), "--out", run);
        assertEquals(0, trained.status(), trained.err());

        // the run's own table, the summary and a later evaluation show the same numbers
        Gatun.Result evaluated = Gatun.here("evaluate", run);
        assertEquals(0, evaluated.status(), evaluated.err());
        JsonNode scores = summary("run").path("scores");
        for (String features : List.of("pixels", "random", "trained")) {
            JsonNode row = scores.path(features);
            String line = String.format(Locale.ROOT, "%-10s %6.1f %8.1f %9.1f", features,
                    row.path("knn").asDouble(), row.path("linear").asDouble(), row.path("shot10").asDouble());
            assertTrue(trained.out().contains(line), line + " in " + trained.out());
            assertTrue(evaluated.out().contains(line), line + " in " + evaluated.out());
        }

        features(run, "test", Tiny.TEST);
        features(run, "train", Tiny.TRAIN);
    }

    /** What the method knows of each sample it was trained on is no obstacle. */
    @Test
    void aClusteringRunIsEvaluatedOnOtherData() throws IOException {
        Path config = Tiny.config(folder, 1);
        String run = folder.resolve("clusters").toString();
        Gatun.Result trained = Gatun.here("pretrain", config.toString(), "--out", run, "--method", "deepcluster_v2",
                "--set", "method.prototypes=[6]", "--set", "method.hidden=[8]", "--set", "method.output=6");
        assertEquals(0, trained.status(), trained.err());
        Gatun.Result embedded = Gatun.here("embed", run, "--part", "train", "--out", folder.resolve("few.npy").toString(),
                "--set", "data.train_images=" + folder.resolve("test-images"),
                "--set", "data.train_labels=" + folder.resolve("test-labels"));
        assertEquals(0, embedded.status(), embedded.err());
    }

    // as NumPy's own reader takes a file of version 1.0 apart
    private void features(String run, String part, int count) throws IOException {
        Path file = folder.resolve(part + ".npy");
        Gatun.Result embedded = Gatun.here("embed", run, "--part", part, "--out", file.toString());
        assertEquals(0, embedded.status(), embedded.err());
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        byte[] magic = new byte[8];
        bytes.get(magic);
        assertEquals("\u0093NUMPY\u0001\u0000", new String(magic, StandardCharsets.ISO_8859_1));
        byte[] header = new byte[Short.toUnsignedInt(bytes.getShort())];
        bytes.get(header);
        String text = new String(header, StandardCharsets.US_ASCII);
        assertTrue(text.matches("\\{'descr': '<f4', 'fortran_order': False, 'shape': \\(" + count + ", 8,?\\), \\} *\\n"), text);
        assertEquals(0, bytes.position() % 64);
        assertEquals(count * 8 * Float.BYTES, bytes.remaining());
        boolean differ = false;
        for (float first = bytes.getFloat(); bytes.hasRemaining();) {
            float value = bytes.getFloat();
            assertTrue(Float.isFinite(value));
            differ |= value != first;
        }
        assertTrue(differ);
        List<String> labels = Files.readAllLines(folder.resolve(part + ".labels.txt"));
        assertEquals(count, labels.size());
        for (int i = 0; i < count; i++) {
            assertEquals(Integer.toString(i % Tiny.CLASSES), labels.get(i));
        }
    }

    @Test
    void anOwnMethodInOneFileGetsScoresAndAReport() throws Exception {
        Path example = Path.of("").toAbsolutePath();
        while (!Files.exists(example.resolve("examples/MyLoss.java"))) {
            example = example.getParent();
        }
        Path config = Tiny.config(folder, 3);
        Gatun.Result result = Gatun.start(
                folder, "pretrain", "--method", example.resolve("examples/MyLoss.java").toString(), config.toString(), "--out", "own").end();
        assertEquals(0, result.status(), result.err());
        JsonNode summary = summary("own");
        assertTrue(summary.path("method").asString().endsWith("MyLoss.java"), summary.toString());
        for (String features : List.of("pixels", "random", "trained")) {
            for (String score : List.of("knn", "linear", "shot10")) {
                assertTrue(summary.path("scores").path(features).path(score).isNumber(), summary.toString());
            }
        }
        assertTrue(summary.path("loss_last").asDouble() < summary.path("loss_first").asDouble(), summary.toString());
        assertTrue(Files.readString(folder.resolve("own").resolve(Report.FILE)).contains("<svg"));
        assertEquals(18, Metrics.read(folder.resolve("own")).size());
    }

    @Test
    void memoryIsFlatFromStep50ToStep1000AndThePeakIsReported() throws IOException {
        // everything that a step can have: two sizes of views, a queue that fills, accumulation, a checkpoint now and then
        Path config = Tiny.config(folder, 334, "checkpoint: {every_epochs: 100}\n");
        List<String> settings = List.of("data.accumulate=2", "method.queue=64", "method.queue_start_epoch=2");
        long[] requests = new long[1003];
        long[] peak = new long[1003];
        try (Experiment experiment = Experiment.open(PipelineReader.read(config, settings))) {
            assertEquals(1002, experiment.steps());
            new Trainer(experiment, folder.resolve("run"), new ProgressListener() {
                @Override
                public void step(Progress progress) {
                    int step = (int) progress.step();
                    requests[step] = experiment.device().allocatorRequests();
                    peak[step] = experiment.device().peakBytes();
                }
            }).train(false);
        }
        assertTrue(requests[50] > 0);
        assertEquals(requests[50], requests[1000], Arrays.toString(requests));
        assertEquals(peak[50], peak[1000]);

        assertEquals(0, Gatun.here("pretrain", Tiny.config(folder, 1).toString(), "--out", folder.resolve("short").toString()).status());
        JsonNode summary = summary("short");
        assertTrue(summary.path("peak_tensor_bytes").asLong() > 0, summary.toString());
        assertTrue(summary.path("peak_memory_bytes").asLong() > summary.path("peak_tensor_bytes").asLong(), summary.toString());
        assertTrue(summary.path("images_per_second").asDouble() > 0, summary.toString());
        double waiting = summary.path("waiting_share").asDouble(-1);
        assertTrue(waiting >= 0 && waiting < 1, summary.toString());
    }
}
