// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.profile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.report.ProfileChart;
import dev.gatun.primitives.CallTrace;
import dev.gatun.primitives.CallTrace.Argument;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import java.io.StringReader;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.xml.sax.InputSource;

/** Calls and what lies between them add up to the step. */
class RecorderTest {
    private static final Ceilings CEILINGS = new Ceilings(1e9, 0, new TreeMap<>(Map.of(1L << 20, 1e9)));

    private static CallTrace call(String operation, long rows, long start, long end) {
        return new CallTrace(operation, "", List.of(new Argument("x", Layout.of(DType.F32, rows, 4), false)), Map.of(), 0, start, end);
    }

    /** A call of a millisecond, really. */
    private static void work(Recorder recorder, String operation, long rows) {
        long start = System.nanoTime();
        while (System.nanoTime() - start < TimeUnit.MILLISECONDS.toNanos(1)) {
            Thread.onSpinWait();
        }
        recorder.called(call(operation, rows, start, System.nanoTime()));
    }

    @Test
    void thePartsAreTheStep() {
        Recorder recorder = new Recorder();
        for (int step = 0; step < 2; step++) {
            recorder.begin();
            work(recorder, "a", 10);
            work(recorder, "a", 20);
            work(recorder, "a", 10);
            work(recorder, "b_workspace", 10);
            work(recorder, "memory_allocate", 10);
            recorder.end();
        }
        Profile profile = recorder.profile("cpu", 7, .5, 100, CEILINGS);
        assertEquals(profile.seconds(), profile.sum(), 1e-9);
        assertEquals(List.of("a", Recorder.QUERIES), profile.operations().stream().map(Profile.Kernel::operation).toList());
        Profile.Kernel a = profile.operations().getFirst();
        assertEquals(3, a.calls());
        assertEquals(4 * 4 * 40, a.bytes());
        assertTrue(a.seconds() >= 3e-3 && a.seconds() < profile.seconds());
        assertEquals(4 * 4 * 40 / 1e9, a.boundSeconds(), 1e-12);
        assertEquals(3, profile.kernels().size());
        assertEquals("x 20×4", profile.kernels().stream().filter(k -> k.calls() == 1 && k.operation().equals("a")).findFirst().orElseThrow().shapes());
        assertTrue(profile.memory() >= 1e-3);
        assertEquals(50e-9, profile.waiting(), 1e-15);
        assertTrue(profile.java() >= 0 && profile.java() < 1e-3 * 100);
        assertEquals(.5, profile.plainSeconds());
    }

    @Test
    void whatDoesNotAddUpIsAnError() {
        Recorder recorder = new Recorder();
        recorder.begin();
        long now = System.nanoTime();
        recorder.called(call("a", 1, now, now + 1000));
        assertThrows(IllegalStateException.class, () -> recorder.called(call("around it", 1, now - 10, now + 2000)));
        recorder.end();
        assertThrows(IllegalStateException.class, () -> recorder.profile("cpu", 1, 1, 1L << 40, CEILINGS));
        assertThrows(IllegalStateException.class, () -> new Recorder().profile("cpu", 1, 1, 0, CEILINGS));
    }

    @Test
    void otherThreadsAreBesideTheStep() throws InterruptedException {
        Recorder recorder = new Recorder();
        recorder.begin();
        Thread other = new Thread(() -> work(recorder, "a", 1));
        other.start();
        other.join();
        recorder.end();
        Profile profile = recorder.profile("cpu", 1, 1, 0, Ceilings.NONE);
        assertEquals(List.of(), profile.kernels());
        assertTrue(profile.beside() >= 1e-3);
        assertEquals(profile.seconds(), profile.java(), 1e-12);
    }

    @Test
    void thePictureIsOne() throws Exception {
        Recorder recorder = new Recorder();
        recorder.begin();
        work(recorder, "a", 1);
        recorder.end();
        String svg = ProfileChart.svg("a <b>", recorder.profile("cpu", 1, 1, 0, CEILINGS));
        var document = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(new InputSource(new StringReader(svg)));
        assertEquals("svg", document.getDocumentElement().getNodeName());
        assertTrue(document.getDocumentElement().getTextContent().contains("a <b>: "));
        assertTrue(document.getElementsByTagName("rect").getLength() >= 3, svg);
    }

    @Test
    void ceilings() {
        Ceilings ceilings = new Ceilings(10, 40, new TreeMap<>(Map.of(1L << 20, 8.0, 1L << 30, 2.0)));
        assertEquals(3, ceilings.seconds(new Work(30, 1), false));
        assertEquals(.75, ceilings.seconds(new Work(30, 1), true));
        assertEquals(4, ceilings.seconds(new Work(30, 32), false));
        assertEquals((1L << 29) / 2.0, ceilings.seconds(new Work(0, 1L << 29), false));
        assertEquals(0, Ceilings.NONE.seconds(new Work(30, 1), false));
        Ceilings best = ceilings.max(new Ceilings(20, 30, new TreeMap<>(Map.of(1L << 20, 1.0, 1L << 30, 5.0))));
        assertEquals(new Ceilings(20, 40, new TreeMap<>(Map.of(1L << 20, 8.0, 1L << 30, 5.0))), best);
    }
}
