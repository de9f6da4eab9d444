// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.Metrics;
import dev.gatun.learning.Step;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import dev.gatun.learning.pipeline.Pipeline;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * What a run was and gave, as {@code summary.json} holds it.
 *
 * @param values numbers, texts and the {@code scores} by key, in order
 */
public record Summary(Map<String, Object> values) {
    /** The file's name in a run's folder. */
    public static final String FILE = "summary.json";

    /** The library's version. */
    public static final String VERSION = "0.1.0";

    private static final int WINDOW = 20;

    /**
     * Collects the summary of a finished run.
     *
     * @param experiment the run's experiment
     * @param metrics the lines of its metrics
     * @param scores by features; may be empty
     */
    public static Summary of(Experiment experiment, List<Map<String, Double>> metrics, Map<String, Scores> scores) {
        Pipeline pipeline = experiment.pipeline();
        Map<String, Double> first = metrics.isEmpty() ? Map.of() : metrics.getFirst();
        Map<String, Double> last = metrics.isEmpty() ? Map.of() : metrics.getLast();
        double seconds = last.getOrDefault("seconds", 0.0);
        double seen = last.getOrDefault("step", 0.0) * pipeline.batch().batch() * pipeline.batch().accumulate();
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("method", pipeline.method().name());
        values.put("device", experiment.device().name());
        values.put("threads", experiment.device().threads());
        values.put("images", experiment.data().pretrain().size());
        values.put("epochs", experiment.epochs());
        values.put("steps", experiment.steps());
        values.put("seconds_train", seconds);
        values.put("images_per_second", seconds > 0 ? Math.rint(10 * seen / seconds) / 10 : 0);
        put(values, "loss_first", first.get("loss"));
        put(values, "loss_last", last.get("loss"));
        put(values, "loss_epoch1_last20", tail(metrics, experiment.stepsPerEpoch()));
        put(values, Step.UNINFORMED_LOSS, last.get(Step.UNINFORMED_LOSS));
        put(values, Step.PROTOTYPES, last.get(Step.PROTOTYPES));
        put(values, Step.PROTOTYPES_USED, last.get(Step.PROTOTYPES_USED));
        put(values, Step.SPREAD, last.get(Step.SPREAD));
        values.put("scores", scores(scores));
        values.put("seed", pipeline.seed());
        values.put("version", VERSION);
        values.put("parameters", experiment.parameters().count());
        values.put("peak_memory_bytes", peakMemory());
        values.put("peak_tensor_bytes", experiment.device().peakBytes());
        return new Summary(values);
    }

    private static Map<String, Object> scores(Map<String, Scores> scores) {
        Map<String, Object> shown = new LinkedHashMap<>();
        scores.forEach((features, score) -> {
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("knn", Math.rint(score.knn() * 100) / 100);
            row.put("linear", Math.rint(score.linear() * 100) / 100);
            row.put("shot10", Math.rint(score.shot10() * 100) / 100);
            shown.put(features, row);
        });
        return shown;
    }

    private static void put(Map<String, Object> values, String key, Double value) {
        if (value != null && Double.isFinite(value)) {
            values.put(key, value == Math.rint(value) && !key.startsWith("loss") ? (Object) value.longValue() : value);
        }
    }

    // the mean loss of the last steps of the first epoch
    private static Double tail(List<Map<String, Double>> metrics, long stepsPerEpoch) {
        return metrics.stream()
                .filter(line -> line.get("step") <= stepsPerEpoch && line.get("step") > stepsPerEpoch - WINDOW)
                .mapToDouble(line -> line.get("loss"))
                .average()
                .orElse(Double.NaN);
    }

    /** The largest resident size the process has had, in bytes; on systems without /proc, the Java heap's size. */
    static long peakMemory() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith("VmHWM:")) {
                    return Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
                }
            }
        } catch (IOException e) {
            // not Linux
        }
        return Runtime.getRuntime().totalMemory();
    }

    /** The summary as JSON. */
    public String toJson() {
        return JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build().writeValueAsString(values) + "\n";
    }

    /**
     * Writes the summary into a run's folder.
     *
     * @param folder the folder
     * @throws dev.gatun.learning.LearningException if it cannot be written; one line
     */
    public void write(Path folder) {
        AtomicFile.write(folder.resolve(FILE), toJson());
    }
}
