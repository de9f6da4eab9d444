// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.suite.Statistics.Estimate;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A row over all its processes. Each build is judged by its own process, where it took turns with ours; the ratio that counts is the least.
 *
 * @param rows one an environment
 */
record Verdict(String operation, Map<String, String> parameters, List<Measured> rows) {
    /** A row is as good as it can be at this fraction of the ceiling. */
    static final double ENOUGH = 0.85;

    /** A form of a peer in a process. */
    record Rival(Measured row, String form, Estimate ratio) {}

    /** Rows of the same work, in the order in which they come. */
    static List<Verdict> of(List<Measured> rows) {
        Map<String, Verdict> verdicts = new LinkedHashMap<>();
        for (Measured row : rows) {
            verdicts.computeIfAbsent(
                            row.operation() + row.parameters(), key -> new Verdict(row.operation(), row.parameters(), new ArrayList<>()))
                    .rows()
                    .add(row);
        }
        return List.copyOf(verdicts.values());
    }

    String label() {
        return String.join(" ", parameters.values());
    }

    /** The peer that comes nearest to ours: any form ("") or the one named, in the processes of one kind. */
    Optional<Rival> nearest(PeerEnvironment.Kind kind, String form) {
        return rows.stream()
                .filter(row -> PeerEnvironment.kind(row.environment()) == kind)
                .flatMap(row -> row.ratios().entrySet().stream()
                        .filter(ratio -> form.isEmpty() || ratio.getKey().equals(form))
                        .map(ratio -> new Rival(row, ratio.getKey(), ratio.getValue())))
                .min(Comparator.comparingDouble(rival -> rival.ratio().median()));
    }

    /** The process whose figures of ours stand for the row. */
    Measured main(PeerEnvironment.Kind kind) {
        return nearest(kind, "").map(Rival::row).orElseGet(() -> rows.stream()
                .filter(row -> PeerEnvironment.kind(row.environment()) == kind)
                .findFirst()
                .orElseGet(rows::getFirst));
    }

    Map<String, Double> targets() {
        return rows.getFirst().targets();
    }

    /** Whether every target is reached, or the ceiling is near; empty where there is no target. */
    Optional<Boolean> met() {
        if (targets().isEmpty()) {
            return Optional.empty();
        }
        boolean near = main(PeerEnvironment.Kind.TUNED).fraction().median() >= ENOUGH;
        boolean ratios = targets().entrySet().stream()
                .allMatch(target -> nearest(PeerEnvironment.Kind.TUNED, target.getKey())
                        .filter(rival -> rival.ratio().median() >= target.getValue())
                        .isPresent());
        return Optional.of(near || ratios);
    }
}
