// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import java.time.Duration;

/**
 * How far a run is.
 *
 * @param started milliseconds since the epoch
 */
record Progress(int done, int total, long started) {
    Progress next() {
        return new Progress(done + 1, total, started);
    }

    /** "12/240 2.1 s/row 8 min left ". */
    String prefix() {
        double seconds = (System.currentTimeMillis() - started) / 1000.0 / Math.max(done, 1);
        Duration left = Duration.ofSeconds(Math.round(seconds * (total - done)));
        String time = left.toMinutes() > 0 ? left.toMinutes() + " min" : left.toSeconds() + " s";
        return "%d/%d %.1f s/row %s left  ".formatted(done, total, seconds, time);
    }
}
