// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import dev.gatun.benchmarks.steps.StepMemory;
import dev.gatun.benchmarks.steps.Steps;
import java.io.IOException;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The most memory that a training step has resident at once, each side in a process of its own.
 *
 * @param environment name of the {@link PeerEnvironment}
 * @param bytes of ours and of each form of the peer
 */
record PeakMemory(String step, String environment, Map<String, Long> bytes, String commit, String date) {
    static final String OPERATION = "step_memory";
    /** The target: of ours over the least of the peer's usual forms. */
    static final double TARGET = 0.7;

    /** Where it is measured: an allocator that gives memory back at once may need less of it. */
    static final List<String> ENVIRONMENTS = List.of("djl", "djl-default");

    /** A heap that is there from the beginning does not count. */
    private static final List<String> HEAP = List.of("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:+AlwaysPreTouch");

    /** All sides of a step, one after the other. */
    static PeakMemory measure(String step, PeerEnvironment environment, int threads, String commit) throws IOException, InterruptedException {
        List<String> sides = new ArrayList<>(List.of(Steps.OURS));
        sides.addAll(Steps.forms(step));
        Map<String, Long> bytes = new LinkedHashMap<>();
        for (String side : sides) {
            bytes.put(side, bytes(step, side, environment, threads));
        }
        return new PeakMemory(step, environment.name(), bytes, commit, LocalDate.now().toString());
    }

    private static long bytes(String step, String side, PeerEnvironment environment, int threads) throws IOException, InterruptedException {
        ProcessBuilder builder = environment.process(threads, HEAP, StepMemory.class, step, side, String.valueOf(threads));
        Process process = builder.redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String printed = new String(process.getInputStream().readAllBytes()).strip();
        if (process.waitFor() != 0) {
            throw new IllegalStateException("the memory of " + step + ", " + side + ": the process ended with " + process.exitValue());
        }
        return Long.parseLong(printed);
    }

    long ours() {
        return bytes.get(Steps.OURS);
    }

    /** The usual form that takes least. */
    String least() {
        return Steps.usual(step).stream().reduce((a, b) -> bytes.get(b) < bytes.get(a) ? b : a).orElseThrow();
    }

    /** Ours over the least of the peer. */
    double ratio() {
        return (double) ours() / bytes.get(least());
    }

    boolean met() {
        return ratio() <= TARGET;
    }

    static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%.0f MB", bytes / 1e6);
    }

    String line() {
        StringBuilder line = new StringBuilder(String.format(Locale.ROOT, "%s (%s): %.2f of %s", step, environment, ratio(), least()));
        bytes.forEach((side, size) -> line.append(", ").append(side).append(" ").append(megabytes(size)));
        return line.toString();
    }
}
