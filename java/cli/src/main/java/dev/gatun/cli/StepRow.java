// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * What was timed of one whole step in one form, ours or a peer's.
 *
 * @param step the pipeline's name
 * @param precision of the pipeline
 * @param form {@code eager} or {@code captured}; of PyTorch {@code eager} or {@code compile MODE}
 * @param batch samples
 * @param largest whether the batch is the largest that fits, else it is the pipeline's
 * @param seconds from step to step, the median
 * @param busy seconds of a step in which the device computes, where that is known
 * @param peakBytes the most device memory that tensors took at once
 * @param heldBytes the most that was obtained for them, of PyTorch reserved; what lies unused included
 */
record StepRow(
        String step, String precision, String form, int batch, boolean largest, double seconds, OptionalDouble busy, long peakBytes,
        long heldBytes) {
    /** Samples a second. */
    double imagesPerSecond() {
        return batch / seconds;
    }

    /** The part of a step in which the device waits, where that is known. */
    OptionalDouble idle() {
        return busy.isEmpty() ? busy : OptionalDouble.of(Math.max(0, 1 - busy.getAsDouble() / seconds));
    }

    /** What rows of one step, ours and a peer's, have in common. */
    String key() {
        return step + " " + precision + (largest ? " largest batch" : " batch " + batch);
    }

    void write(ObjectNode row) {
        row.put("step", step);
        row.put("precision", precision);
        row.put("form", form);
        row.put("batch", batch);
        row.put("largest", largest);
        row.put("seconds", seconds);
        row.put("images_per_second", imagesPerSecond());
        busy.ifPresent(value -> row.put("busy_seconds", value));
        idle().ifPresent(value -> row.put("idle", value));
        row.put("peak_bytes", peakBytes);
        row.put("reserved_bytes", heldBytes);
    }

    private static StepRow of(JsonNode row) {
        return new StepRow(
                row.path("step").asString(), row.path("precision").asString(), row.path("form").asString(), row.path("batch").asInt(),
                row.path("largest").asBoolean(), row.path("seconds").asDouble(),
                row.has("busy_seconds") ? OptionalDouble.of(row.path("busy_seconds").asDouble()) : OptionalDouble.empty(),
                row.path("peak_bytes").asLong(), row.path("reserved_bytes").asLong());
    }

    /**
     * Reads the rows of a file that {@code torch_cuda.py --steps} or {@code gatun bench-steps} wrote.
     *
     * @throws IllegalArgumentException if it has none
     */
    static List<StepRow> read(Path file) throws IOException {
        List<StepRow> rows = new ArrayList<>();
        for (JsonNode row : JsonMapper.builder().build().readTree(Files.readString(file)).path("steps")) {
            if (row.path("seconds").asDouble() > 0 && row.path("batch").asInt() > 0) {
                rows.add(of(row));
            }
        }
        if (rows.isEmpty()) {
            throw new IllegalArgumentException(file + " has no steps with seconds");
        }
        return rows;
    }
}
