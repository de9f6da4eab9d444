// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RowKeyTest {
    @Test
    void anOperationHasItsNameOfEverywhereElse() {
        assertEquals("l2_normalize", new RowKey("dev.gatun.benchmarks.L2NormalizeBenchmark.round", Map.of()).operation());
        assertEquals("attention", new RowKey("dev.gatun.benchmarks.AttentionBenchmark.round", Map.of()).operation());
        assertEquals("info_nce", new RowKey("dev.gatun.benchmarks.InfoNceBenchmark.round", Map.of()).operation());
    }

    @Test
    void everyComparisonHasItsRowsOnce() {
        List<RowKey> rows = RowKey.all();
        assertTrue(rows.size() > 80, "rows " + rows.size());
        assertEquals(rows.size(), new HashSet<>(rows).size());
        assertTrue(rows.stream().anyMatch(row -> row.operation().equals("sinkhorn") && row.label().contains("16384x3000")));
    }

    @Test
    void everyPeersProcessHasANameOfItsKind() {
        List<PeerEnvironment> all = PeerEnvironment.all();
        assertEquals(all.size(), all.stream().map(PeerEnvironment::name).distinct().count());
        assertEquals(PeerEnvironment.Kind.TUNED, PeerEnvironment.kind("openblas"));
        assertEquals(PeerEnvironment.Kind.DEFAULT_ALLOCATOR, PeerEnvironment.kind("djl-default"));
        assertEquals(PeerEnvironment.Kind.ND4J, PeerEnvironment.kind("nd4j"));
        assertEquals(PeerEnvironment.Kind.AVX2, PeerEnvironment.kind("djl-avx2"));
    }
}
