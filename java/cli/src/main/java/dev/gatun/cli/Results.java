// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** What the trials of kernels print, as one JSON file: library, ceilings, rows. */
final class Results {
    private static final ObjectMapper MAPPER = JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    private Results() {}

    /** Writes the lines of one run; the file is there whole or not at all. */
    static void write(Path file, List<JsonNode> lines) throws IOException {
        ObjectNode document = document();
        ArrayNode ceilings = document.putArray("ceilings");
        ArrayNode rows = MAPPER.createArrayNode();
        String next = "";
        for (int i = lines.size() - 1; i >= 0; i--) {  // ceilings are measured before an operation: they get its name
            JsonNode line = lines.get(i);
            if (line.has("operation")) {
                next = line.path("operation").asString();
            } else if (line.has("ceilings")) {
                ((ObjectNode) line.path("ceilings")).put("before", next);
            }
        }
        for (JsonNode line : lines) {
            if (line.has("library")) {
                document.set("library", line.path("library"));
            } else if (line.has("ceilings")) {
                ceilings.add(line.path("ceilings"));
            } else {
                rows.add(line);
            }
        }
        document.set("rows", rows);
        write(file, document);
    }

    /** An empty document that says which Gatun wrote it. */
    static ObjectNode document() {
        return MAPPER.createObjectNode().put("version", Version.string());
    }

    /** Writes a document; the file is there whole or not at all. */
    static void write(Path file, ObjectNode document) throws IOException {
        Path folder = file.toAbsolutePath().getParent();
        Files.createDirectories(folder);
        Path part = Files.createTempFile(folder, "results", ".part");
        Files.writeString(part, MAPPER.writeValueAsString(document) + "\n");
        Files.move(part, file.toAbsolutePath(), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    /** What tells a row from every other, ours and a peer's alike. */
    static String key(JsonNode row) {
        return String.join(
                " ", row.path("operation").asString(), row.path("direction").asString(), row.path("dtype").asString(), row.path("shape").asString());
    }

    /** 1.234e-5 s as a person reads it. */
    static String time(double seconds) {
        for (Map.Entry<String, Double> unit : List.of(Map.entry("s", 1.0), Map.entry("ms", 1e-3), Map.entry("µs", 1e-6))) {
            if (seconds >= unit.getValue()) {
                return String.format(Locale.ROOT, "%.3g %s", seconds / unit.getValue(), unit.getKey());
            }
        }
        return String.format(Locale.ROOT, "%.3g ns", seconds * 1e9);
    }
}
