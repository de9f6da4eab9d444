// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.learning.checkpoint.AtomicFile;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * The file {@code metrics.jsonl}: one JSON object a step, with at least {@code step} (updates done), {@code epoch} (from 1),
 * {@code loss}, {@code lr}, {@code images_per_second}, {@code seconds} (training time so far, resumed parts included) and
 * {@code seconds_waiting} (of it, until the samples of a step were there).
 */
public final class Metrics implements AutoCloseable {
    /** The file's name in a run's folder. */
    public static final String FILE = "metrics.jsonl";

    /** What every line has, whatever the method logs. */
    public static final Set<String> OF_EVERY_STEP = Set.of("step", "epoch", "loss", "lr", "images_per_second", "seconds", "seconds_waiting");

    private static final JsonMapper JSON = JsonMapper.builder().build();

    private final Path file;
    private final BufferedWriter writer;

    private Metrics(Path file, BufferedWriter writer) {
        this.file = file;
        this.writer = writer;
    }

    /**
     * Opens the file for writing after a step; lines of later steps, which a killed run left, are dropped.
     *
     * @param folder the run's folder
     * @param step updates done; 0 starts a new file
     * @throws LearningException if the file cannot be written; one line
     */
    public static Metrics open(Path folder, long step) {
        Path file = folder.resolve(Metrics.FILE);
        StringBuilder kept = new StringBuilder();
        if (step > 0 && Files.exists(file)) {
            for (Map<String, Double> line : read(folder)) {
                if (line.get("step") <= step) {
                    kept.append(line(line)).append('\n');
                }
            }
        }
        AtomicFile.write(file, kept.toString());
        try {
            return new Metrics(file, Files.newBufferedWriter(file, StandardOpenOption.APPEND));
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be written"), e);
        }
    }

    /**
     * Appends a line.
     *
     * @param values numbers by name
     * @throws LearningException if the disk is full; one line
     */
    public void write(Map<String, Double> values) {
        try {
            writer.write(line(values));
            writer.write('\n');
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be written"), e);
        }
    }

    /**
     * Gives the lines so far to the operating system, so that whoever watches the file sees them.
     *
     * @throws LearningException if the disk is full; one line
     */
    public void flush() {
        try {
            writer.flush();
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be written"), e);
        }
    }

    @Override
    public void close() {
        try {
            writer.close();
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be written"), e);
        }
    }

    /**
     * Reads all whole lines.
     *
     * @param folder the run's folder
     * @throws LearningException if there is no such file; one line
     */
    public static List<Map<String, Double>> read(Path folder) {
        Path file = folder.resolve(FILE);
        List<Map<String, Double>> lines = new ArrayList<>();
        try {
            for (String text : Files.readAllLines(file)) {
                try {
                    Map<String, Double> line = new LinkedHashMap<>();
                    JSON.readValue(text, Map.class).forEach((key, value) -> line.put(
                            key.toString(), value instanceof Number number ? number.doubleValue() : Double.NaN));
                    if (!line.containsKey("step")) {
                        break;
                    }
                    lines.add(line);
                } catch (JacksonException e) {
                    // a killed run's last line may be half-written; the steps after it are repeated
                    break;
                }
            }
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be read"), e);
        }
        return lines;
    }

    private static String line(Map<String, Double> values) {
        Map<String, Object> shown = new LinkedHashMap<>();
        values.forEach((name, value) -> shown.put(name,
                value == Math.rint(value) && Math.abs(value) < 1e15 ? (Object) value.longValue()
                        : Double.isFinite(value) ? value : value.toString()));
        return JSON.writeValueAsString(shown);
    }
}
