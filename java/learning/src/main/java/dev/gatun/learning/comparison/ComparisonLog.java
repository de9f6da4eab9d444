// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.comparison;

import dev.gatun.learning.LearningException;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import dev.gatun.learning.evaluation.Floors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * The file {@code compare.json}: what a comparison decided and did, so that one that was killed goes on where it was, with the
 * same numbers of steps.
 */
final class ComparisonLog {
    static final String FILE = "compare.json";

    /** A run that was begun. */
    static final String STARTED = "started";

    /** A run that has its summary and report. */
    static final String COMPLETE = "complete";

    private static final JsonMapper JSON = JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    private final Path file;
    private final Content content;

    /** The file's content. */
    record Content(Map<String, Entry> pipelines, Map<String, Scores> floors) {}

    /**
     * What was decided for a pipeline, and for what.
     *
     * @param budget its text
     * @param settings every setting but seed and length
     * @param source the digest of the method's file
     * @param steps updates of each run
     * @param runs how far each run is, by its name
     */
    record Entry(String budget, String settings, String source, long steps, Map<String, String> runs) {
        boolean fits(Budget asked, Contestant contestant) {
            return budget.equals(asked.text()) && settings.equals(settings(contestant)) && source.equals(contestant.source());
        }

        static String settings(Contestant contestant) {
            return contestant.pipeline().with(0, 1).toYaml();
        }
    }

    private ComparisonLog(Path file, Content content) {
        this.file = file;
        this.content = content;
    }

    /** Reads a folder's log; an absent one is empty. */
    static ComparisonLog open(Path folder) {
        Path file = folder.resolve(FILE);
        Content content = new Content(new LinkedHashMap<>(), new LinkedHashMap<>());
        if (Files.exists(file)) {
            try {
                content = JSON.readValue(Files.readString(file), Content.class);
            } catch (IOException e) {
                throw new LearningException(AtomicFile.reason(file, e, "cannot be read"), e);
            } catch (JacksonException e) {
                throw new LearningException(file + ": not the log of a comparison: " + e.getOriginalMessage(), e);
            }
            if (content.pipelines() == null || content.floors() == null) {
                throw new LearningException(file + ": not the log of a comparison");
            }
        }
        return new ComparisonLog(file, content);
    }

    Map<String, Entry> pipelines() {
        return content.pipelines();
    }

    /** Takes the known floors from the file. */
    void restore(Floors floors) {
        floors.known().putAll(content.floors());
    }

    void mark(Contestant contestant, String run, String state, Floors floors) {
        content.pipelines().get(contestant.name()).runs().put(run, state);
        content.floors().putAll(floors.known());
        write();
    }

    void write() {
        AtomicFile.write(file, JSON.writeValueAsString(content) + "\n");
    }
}
