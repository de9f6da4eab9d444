// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.Winograd;
import dev.gatun.benchmarks.suite.Statistics.Estimate;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToDoubleFunction;

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

    /** Whether ours computed what the peers did; where it was allowed an error for speed, the row stands beside the exact one. */
    boolean exact() {
        return !Winograd.allowed(label());
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

    /** How a row stands to its targets. */
    enum Met {
        /** the whole interval of each ratio reaches its target */
        YES("yes"),
        /** the medians do, but an interval does not: another run could miss */
        BY_THE_MEDIAN("yes, interval straddles"),
        /** a ratio does not, but the ceiling is near */
        BY_THE_CEILING("yes, by the ceiling"),
        /** a median does not, but its interval does: another run could reach it */
        NOT_BY_THE_MEDIAN("**no**, interval straddles"),
        NO("**no**");

        private final String text;

        Met(String text) {
            this.text = text;
        }

        boolean yes() {
            return compareTo(NOT_BY_THE_MEDIAN) < 0;
        }

        @Override
        public String toString() {
            return text;
        }
    }

    /** By the medians, as the targets are meant; empty where there is no target. */
    Optional<Met> met() {
        if (targets().isEmpty()) {
            return Optional.empty();
        }
        if (reach(Estimate::low)) {
            return Optional.of(Met.YES);
        }
        if (reach(Estimate::median)) {
            return Optional.of(Met.BY_THE_MEDIAN);
        }
        if (main(PeerEnvironment.Kind.TUNED).fraction().median() >= ENOUGH) {
            return Optional.of(Met.BY_THE_CEILING);
        }
        return Optional.of(reach(Estimate::high) ? Met.NOT_BY_THE_MEDIAN : Met.NO);
    }

    /** Whether this bound of every ratio reaches its target. */
    private boolean reach(ToDoubleFunction<Estimate> bound) {
        return targets().entrySet().stream()
                .allMatch(target -> nearest(PeerEnvironment.Kind.TUNED, target.getKey())
                        .filter(rival -> bound.applyAsDouble(rival.ratio()) >= target.getValue())
                        .isPresent());
    }
}
