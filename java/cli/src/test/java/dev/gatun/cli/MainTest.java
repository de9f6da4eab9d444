// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class MainTest {
    @TempDir
    Path folder;

    @Test
    void helpTeachesAndHasNoColoursInAPipe() {
        Gatun.Result help = Gatun.here("--help");
        assertEquals(0, help.status());
        assertTrue(help.out().contains("gatun pretrain configs/fashion-mnist-swav.yaml"), help.out());
        assertFalse(help.out().contains("\u001b"), help.out());
    }

    @Test
    void infoIsOneJsonObjectWithTheLevelOfEachOperation() {
        Gatun.Result info = Gatun.here("info", "--json");
        assertEquals(0, info.status(), info.err());
        JsonNode json = JsonMapper.builder().build().readTree(info.out());
        assertEquals("0.1.0", json.path("version").asString());
        assertTrue(json.path("threads").asInt() >= 1);
        assertTrue(json.path("operations").has("sinkhorn"), info.out());
        assertTrue(json.path("operations").path("attention").asString().matches("scalar|avx2|avx512|neon"), info.out());
        assertTrue(json.path("libraries").has("gemm"));
    }

    @Test
    void everyKernelCanBeTried() {
        Gatun.Result selftest = Gatun.here("selftest", "--quick", "--op", "l2_normalize", "--json", folder.resolve("s.json").toString());
        assertEquals(0, selftest.status(), selftest.err());
        assertTrue(selftest.out().contains("all within their bounds"), selftest.out());
        Gatun.Result bench = Gatun.here("bench", "--quick", "--op", "l2_normalize", "--json", folder.resolve("b.json").toString());
        assertEquals(0, bench.status(), bench.err());
        assertTrue(bench.out().contains("ceilings: "), bench.out());
        Gatun.Result again = Gatun.here("bench", "--quick", "--op", "l2_normalize", "--compare", folder.resolve("b.json").toString());
        assertTrue(again.out().contains("(the other run)"), again.out());
        Gatun.here("selftest", "--device", "gpu").failsInOneLine("gpu", "cpu, cuda, emulated");
        Gatun.here("bench", "--compare", folder.resolve("none.json").toString()).failsInOneLine("none.json");
    }

    @Test
    void librariesAreTimedBesideGatunsKernels() throws Exception {
        Path file = folder.resolve("libraries.json");
        Gatun.Result result = Gatun.here("bench-libraries", "--device", "emulated", "--quick", "--json", file.toString());
        assertEquals(0, result.status(), result.err());
        assertTrue(result.out().contains("no library"), result.out());
        JsonNode rows = JsonMapper.builder().build().readTree(Files.readString(file));
        assertEquals(12, rows.size());
        rows.forEach(row -> assertTrue(row.path("seconds").asDouble() > 0, row.toString()));
        assertEquals(2 * 64 * 48 * 32, rows.get(0).path("flops").asDouble());
        assertEquals(2, Gatun.here("bench-libraries", "--device", "cpu").status());
        // no library, no driver or no such device, as the machine has it
        Gatun.here("bench-libraries", "--device", "cuda:999").failsInOneLine();
    }

    @Test
    void wrongUseIsExplained() {
        assertEquals(2, Gatun.here("pretrain").status());
        assertEquals(2, Gatun.here("nonsense").status());
        assertEquals(2, Gatun.here("embed", "somewhere").status());
        Gatun.here("pretrain", folder.resolve("none.yaml").toString()).failsInOneLine("none.yaml");
        Gatun.here("pretrain", "--resume", "--out", folder.resolve("empty").toString()).failsInOneLine("config.yaml");
        Gatun.here("evaluate", folder.toString()).failsInOneLine("not a run's folder");
    }

    @Test
    void aDownloadedFileIsChecked() throws Exception {
        Path from = Files.createDirectories(folder.resolve("from"));
        for (String name : new String[] {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}) {
            Files.write(from.resolve(name), new byte[] {1, 2, 3});
        }
        Gatun.Result output = Gatun.here("data", "fashion-mnist", "--from", from.toUri().toString(), "--to", folder.resolve("to").toString());
        output.failsInOneLine("is not the file expected");
        assertFalse(Files.exists(folder.resolve("to/train-images-idx3-ubyte.gz")));
        assertFalse(Files.exists(folder.resolve("to/train-images-idx3-ubyte.gz.part")));
    }
}
