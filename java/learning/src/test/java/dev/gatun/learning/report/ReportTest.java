// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Dataset;
import dev.gatun.data.Subset;
import dev.gatun.learning.Metrics;
import dev.gatun.learning.Synthetic;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import dev.gatun.learning.report.ReportData.Mark;
import dev.gatun.learning.report.ReportData.Picture;
import dev.gatun.learning.report.ReportData.Point;
import dev.gatun.learning.report.ReportData.Predictions;
import dev.gatun.learning.report.ReportData.Row;
import dev.gatun.tensor.Device;
import java.io.IOException;
import java.io.StringReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.xml.sax.InputSource;

class ReportTest {
    private static ReportData data() {
        List<Map<String, Double>> metrics = new ArrayList<>();
        for (int step = 1; step <= 900; step++) {
            Map<String, Double> line = new LinkedHashMap<>();
            line.put("step", (double) step);
            line.put("loss", 4.6 - step * .001);
            line.put("lr", step * 1e-6);
            metrics.add(line);
        }
        byte[] png = {1, 2, 3};
        Row row = new Row("coat & <hat>", png, List.of(new Picture(png, "a \"b\"", Mark.SAME), new Picture(png, "c", Mark.OTHER)));
        Map<String, Scores> scores = new LinkedHashMap<>();
        scores.put("pixels", new Scores(84.6, 84.6, 71.3));
        scores.put("random", new Scores(79.6, 78.9, Double.NaN));
        scores.put("trained", new Scores(84, 82.5, 69.7));
        return new ReportData(
                "swav on <data>", "somebody & others", Map.of("uninformed_loss", 4.605, "seconds_train", 12.5, "method", "swav"),
                "version: 1\ndata: {name: \"<x>\"}\n", metrics, scores, Optional.empty(), "20 neighbours <vote>", List.of(row),
                List.of(new Point(1, 2, 0), new Point(-1, 0, 1), new Point(0, 0, -1)), List.of("coat & <hat>", "bag"), List.of(row),
                List.of(new Row("prototype 3", new byte[0], row.others())));
    }

    static Document parse(String page) throws Exception {
        return DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new InputSource(new StringReader(page.replace("<!DOCTYPE html>", ""))));
    }

    @Test
    void isOneWellFormedFileThatNeedsNoNetwork() throws Exception {
        String page = Report.render(data());
        Document document = parse(page);
        assertEquals(8, document.getElementsByTagName("img").getLength());
        assertEquals(2, document.getElementsByTagName("circle").getLength(), "the point without class is not drawn");
        assertTrue(document.getElementsByTagName("polyline").getLength() >= 3);
        assertFalse(page.contains("http:") || page.contains("https:"), "no address");
        for (int i = 0; i < 8; i++) {
            String source = ((Element) document.getElementsByTagName("img").item(i)).getAttribute("src");
            assertEquals("data:image/png;base64,AQID", source);
        }
        assertFalse(page.contains("href=") || page.contains("<script src") || page.contains("<link"), "no other source");
        assertTrue(page.contains("coat &amp; &lt;hat&gt;") && page.contains("20 neighbours &lt;vote&gt;"));
        assertFalse(page.contains("<hat>") || page.contains("NaN"));
        assertTrue(page.contains("84.6") && page.contains("+4.4"));
    }

    @Test
    void aRunWithoutScoresLabelsOrPrototypesHasAReport() throws Exception {
        ReportData d = data();
        String page = Report.render(new ReportData(
                d.title(), d.paper(), Map.of("method", "x"), d.config(), List.of(), Map.of(), Optional.empty(), "", List.of(),
                List.of(new Point(0, 1, -1), new Point(1, 1, -1)), List.of(), List.of(), List.of()));
        Document document = parse(page);
        assertEquals(2, document.getElementsByTagName("circle").getLength());
        assertEquals(0, document.getElementsByTagName("table").getLength());
    }

    @Test
    void aClassifiersPredictionsAreAMatrixAndItsMistakesPictures() throws Exception {
        ReportData d = data();
        Picture mistake = new Picture(new byte[] {1, 2, 3}, "bag, taken for <hat> (99.0 %)", Mark.OTHER);
        String page = Report.render(new ReportData(
                d.title(), d.paper(), d.summary(), d.config(), d.metrics(), d.scores(),
                Optional.of(new Predictions(97.53, new int[][] {{39, 1}, {0, 0}}, List.of(mistake))), d.protocol(), d.views(), d.map(),
                d.classNames(), d.neighbours(), d.prototypes()));
        Document document = parse(page);
        assertEquals(4, document.getElementsByTagName("rect").getLength());
        assertEquals(9, document.getElementsByTagName("img").getLength());
        assertTrue(page.contains("<b>97.5</b><span>accuracy, test images"));
        assertTrue(page.contains("coat &amp; &lt;hat&gt; taken for bag: 1 of 40"));
        assertFalse(page.contains("<hat>"));
    }

    @Test
    void whateverAMethodLogsHasAChart() throws Exception {
        List<Map<String, Double>> metrics = new ArrayList<>();
        for (int step = 1; step <= 30; step++) {
            Map<String, Double> line = new LinkedHashMap<>(Map.of(
                    "step", (double) step, "epoch", (step - 1) / 10 + 1.0, "loss", 1.0 / step, "lr", .1, "uninformed_loss", 2.0));
            line.put("nmi_previous", step == 11 ? .4 : step == 21 ? .7 : Double.NaN);
            if (step % 10 == 1) {
                line.put("clusters_used", 9.0 + step);
            }
            for (int m = 0; m < 20; m++) {
                line.put("my_<metric>_" + m, (double) step * m);
            }
            metrics.add(line);
        }
        ReportData d = data();
        String page = Report.render(new ReportData(
                d.title(), d.paper(), Map.of(), d.config(), metrics, Map.of(), Optional.empty(), "", List.of(), List.of(), List.of(),
                List.of(), List.of()));
        Document document = parse(page);
        assertTrue(page.contains("<figcaption>clusters that hold a sample, by epoch"));
        assertTrue(page.contains("agreement with the clusters of the epoch before (NMI), by epoch"));
        assertTrue(page.contains("epoch 2: 0.4000"));
        assertEquals(5, document.getElementsByTagName("circle").getLength(), "a dot an epoch");
        assertTrue(page.contains("<figcaption>my &lt;metric&gt; 11<") && !page.contains("my &lt;metric&gt; 12<"), "up to a dozen");
        assertFalse(page.contains("prototypes used") || page.contains("spread of") || page.contains("submodels"), "no data, no chart");
        assertFalse(page.contains("<figcaption>uninformed"));
    }

    @Test
    void whatIsShownIsSpreadOverTheData() {
        Dataset data = new Synthetic.Data().create(new Synthetic.Data.Settings(10), 1).train();
        Subset some = (Subset) ReportCollector.some(data, 4);
        assertEquals(List.of(0, 2, 5, 7), IntStream.range(0, some.size()).map(some::original).boxed().toList());
        assertSame(data, ReportCollector.some(data, 10));
    }

    @Test
    void npyFilesAreAsNumpyWritesThem(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("x.npy");
        try (Device device = Device.cpu(1)) {
            NpyWriter.write(file, device.scope().of(new float[] {1, 2, 3, 4, 5, -6}, 2, 3));
        }
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        assertEquals("\u0093NUMPY\u0001\u0000", new String(bytes.array(), 0, 8, StandardCharsets.ISO_8859_1));
        int length = bytes.getShort(8);
        assertEquals(0, (10 + length) % 64);
        String header = new String(bytes.array(), 10, length, StandardCharsets.US_ASCII);
        assertEquals("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3,), }", header.strip());
        assertTrue(header.endsWith("\n"));
        assertEquals(10 + length + 24, bytes.capacity());
        assertEquals(-6f, bytes.getFloat(10 + length + 20));
    }

    @Test
    void metricsSurviveAHalfWrittenLine(@TempDir Path folder) throws IOException {
        try (Metrics metrics = Metrics.open(folder, 0)) {
            for (int step = 1; step <= 5; step++) {
                metrics.write(Map.of("step", (double) step, "loss", 1.5 / step));
            }
        }
        Path file = folder.resolve(Metrics.FILE);
        Files.writeString(file, Files.readString(file) + "{\"step\":6,\"lo");
        assertEquals(5, Metrics.read(folder).size());
        try (Metrics metrics = Metrics.open(folder, 3)) {
            metrics.write(Map.of("step", 4.0));
        }
        assertEquals(List.of(1.0, 2.0, 3.0, 4.0), Metrics.read(folder).stream().map(line -> line.get("step")).toList());
        assertEquals(.5, Metrics.read(folder).get(2).get("loss"));
    }
}
