// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** The {@code gatun} command as a process of its own, started as the launcher of a checkout does. */
final class Gatun {
    private static final int MINUTES = 2;

    private final Path folder;
    private final Process process;
    private final Path out;
    private final Path err;

    private Gatun(Path folder, Process process, Path out, Path err) {
        this.folder = folder;
        this.process = process;
        this.out = out;
        this.err = err;
    }

    /** What a command ended with. */
    record Result(int status, String out, String err) {
        /** Status 1 and exactly one line on the error stream beside warnings, which holds every part. */
        void failsInOneLine(String... parts) {
            assertEquals(1, status, "standard error: " + err + " standard output: " + out);
            List<String> lines = err.lines().filter(each -> !each.startsWith("warning: ")).toList();
            assertEquals(1, lines.size(), err);
            String line = lines.getFirst();
            assertTrue(line.startsWith("gatun: "), err);
            for (String part : parts) {
                assertTrue(line.contains(part), "expected '" + part + "' in: " + err);
            }
            assertFalse(line.contains("Exception"), err);
        }
    }

    /** Starts the command in a working folder. */
    static Gatun start(Path folder, String... arguments) throws IOException {
        return start(folder, List.of(), arguments);
    }

    /** Starts the command behind a prefix, such as a shell that sets a limit. */
    static Gatun start(Path folder, List<String> prefix, String... arguments) throws IOException {
        List<String> line = new ArrayList<>(prefix);
        line.addAll(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=dev.gatun.primitives,org.bytedeco.javacpp,org.bytedeco.cuda",
                "--sun-misc-unsafe-memory-access=allow",
                // a short program: what the second compiler would win it never gets back
                "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx512m",
                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
                "-Dgatun.library=" + System.getProperty("gatun.library"),
                "--module-path", modulePath(), "--add-modules", "ALL-MODULE-PATH",
                "--module", "dev.gatun.cli/dev.gatun.cli.Main"));
        line.addAll(List.of(arguments));
        Path out = Files.createTempFile(folder, "out", ".txt");
        Path err = Files.createTempFile(folder, "err", ".txt");
        ProcessBuilder builder = new ProcessBuilder(line);
        builder.directory(folder.toFile()).redirectOutput(out.toFile()).redirectError(err.toFile());
        builder.redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")));
        builder.environment().put("OMP_WAIT_POLICY", "passive");
        return new Gatun(folder, builder.start(), out, err);
    }

    /** Runs the command to its end. */
    static Result run(Path folder, String... arguments) throws Exception {
        return start(folder, arguments).end();
    }

    /** Runs the command within this program: fast, where nothing ends a process. */
    static synchronized Result here(String... arguments) {
        // picocli prints to System.out and System.err, as a person sees it
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream outBytes = new ByteArrayOutputStream();
        ByteArrayOutputStream errBytes = new ByteArrayOutputStream();
        System.setOut(new PrintStream(outBytes, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(errBytes, true, StandardCharsets.UTF_8));
        try {
            int status = Main.run(arguments);
            return new Result(status, outBytes.toString(StandardCharsets.UTF_8), errBytes.toString(StandardCharsets.UTF_8));
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
    }

    /** Waits for the end; no crash report of the JVM may be left. */
    Result end() throws Exception {
        if (!process.waitFor(MINUTES, TimeUnit.MINUTES)) {
            process.destroyForcibly();
            throw new AssertionError("hangs; so far: " + Files.readString(out) + Files.readString(err));
        }
        try (var files = Files.list(folder)) {
            assertEquals(List.of(), files.filter(f -> f.getFileName().toString().startsWith("hs_err")).toList());
        }
        return new Result(process.exitValue(), Files.readString(out), Files.readString(err));
    }

    /** Waits until a file exists or the command has ended. */
    Gatun until(Path file) throws InterruptedException {
        while (process.isAlive() && !Files.exists(file)) {
            Thread.sleep(1);
        }
        return this;
    }

    /** Waits until a file has been written after a time in milliseconds, or the command has ended. */
    Gatun untilNewer(Path file, long milliseconds) throws Exception {
        until(file);
        while (process.isAlive() && Files.getLastModifiedTime(file).toMillis() <= milliseconds) {
            Thread.sleep(1);
        }
        return this;
    }

    /** Sends a signal, such as KILL or INT, to the JVM, wherever it is below what was started. */
    void signal(String name) throws Exception {
        long pid = process.descendants()
                .filter(each -> each.info().command().orElse("").endsWith("/java"))
                .map(ProcessHandle::pid)
                .findFirst()
                .orElse(process.pid());
        int status = new ProcessBuilder("kill", "-" + name, Long.toString(pid)).redirectErrorStream(true).start().waitFor();
        assertTrue(status == 0 || !process.isAlive(), "kill -" + name + " failed");
    }

    // the test's own path without the test's own things
    private static String modulePath() {
        Set<String> entries = new LinkedHashSet<>();
        for (String property : new String[] {"jdk.module.path", "java.class.path"}) {
            Arrays.stream(System.getProperty(property, "").split(File.pathSeparator))
                    .filter(entry -> !entry.isBlank())
                    .filter(entry -> !entry.matches(".*(test-classes|junit|surefire|archunit|slf4j|opentest4j|apiguardian|maven).*"
                            + "|.*/\\.m2/.*(test-classes).*") || entry.endsWith("/classes"))
                    .forEach(entries::add);
        }
        return String.join(File.pathSeparator, entries);
    }
}
