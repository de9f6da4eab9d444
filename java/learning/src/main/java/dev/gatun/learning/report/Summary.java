// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import dev.gatun.learning.Experiment;
import dev.gatun.learning.LearningException;
import dev.gatun.learning.Metrics;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.evaluation.Evaluation.Results;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import dev.gatun.learning.pipeline.Pipeline;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * What a run was and gave, as {@code summary.json} holds it.
 *
 * @param values numbers, texts and the {@code scores} by key, in order; at the end the last value of every metric that the method logged
 */
public record Summary(Map<String, Object> values) {
    /** The file's name in a run's folder. */
    public static final String FILE = "summary.json";

    /** The library's version. */
    public static final String VERSION = "0.1.0";

    private static final int WINDOW = 20;

    /**
     * What only the training itself knows.
     *
     * @param peakBytes of tensors that it held at most; empty for a resumed run: of the part before nobody knows
     * @param peakHeldBytes of device memory that it took at most, {@link dev.gatun.tensor.Device#peakHeldBytes}; empty for a resumed run, and on a
     *     CPU, whose memory is the process's
     * @param launches updates of this process that were recorded and launched as a whole; empty on a CPU
     * @param refusal why they were not, where the device could
     */
    public record Training(
            OptionalLong peakBytes, OptionalLong peakHeldBytes, OptionalLong launches, Optional<String> refusal) {}

    /**
     * Collects the summary of a finished run.
     *
     * @param experiment the run's experiment
     * @param metrics the lines of its metrics
     * @param results what its end measured
     * @param training what the training knows
     */
    public static Summary of(
            Experiment experiment, List<Map<String, Double>> metrics, Results results, Training training) {
        Pipeline pipeline = experiment.pipeline();
        Map<String, Double> first = metrics.isEmpty() ? Map.of() : metrics.getFirst();
        Map<String, Double> last = metrics.isEmpty() ? Map.of() : metrics.getLast();
        double seconds = last.getOrDefault("seconds", 0.0);
        double seen = last.getOrDefault("step", 0.0) * pipeline.batch().batch() * pipeline.batch().accumulate();
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("method", pipeline.method().name());
        values.put("device", experiment.device().name());
        values.put("precision", pipeline.precision());
        String form = experiment.encoder().form(experiment.device(), pipeline.computesIn());
        if (!form.isEmpty()) {
            values.put("model_form", form);
        }
        values.put("threads", experiment.host().threads());
        values.put("images", experiment.data().pretrain().size());
        values.put("epochs", experiment.epochs());
        values.put("steps", experiment.steps());
        values.put("seconds_train", seconds);
        values.put("images_per_second", seconds > 0 ? Math.rint(10 * seen / seconds) / 10 : 0);
        values.put("waiting_share", seconds > 0 ? Math.rint(1e4 * last.getOrDefault("seconds_waiting", 0.0) / seconds) / 1e4 : 0);
        put(values, "loss_first", first.get("loss"));
        put(values, "loss_last", last.get("loss"));
        put(values, "loss_epoch1_last20", tail(metrics, experiment.stepsPerEpoch()));
        results.classification().ifPresent(found -> {
            values.put("test_accuracy", Math.rint(found.accuracy() * 100) / 100);
            put(values, "test_loss", found.loss());
        });
        values.put("scores", scores(results.scores()));
        values.put("seed", pipeline.seed());
        values.put("version", VERSION);
        values.put("parameters", experiment.parameters().count());
        values.put("peak_memory_bytes", peakMemory());
        values.put("peak_tensor_bytes", experiment.device().peakBytes());
        training.peakBytes().ifPresent(bytes -> values.put("peak_training_bytes", bytes));
        training.peakHeldBytes().ifPresent(bytes -> values.put("peak_device_bytes", bytes));
        training.launches().ifPresent(launches -> values.put("launched_updates", launches));
        training.refusal().ifPresent(reason -> values.put("not_recorded", reason));
        logged(metrics).forEach((metric, value) -> {
            if (!values.containsKey(metric)) {
                put(values, metric, value);
            }
        });
        return new Summary(values);
    }

    // the last value of everything that the method logged
    private static Map<String, Double> logged(List<Map<String, Double>> metrics) {
        Map<String, Double> last = new LinkedHashMap<>();
        metrics.forEach(last::putAll);
        last.keySet().removeAll(Metrics.OF_EVERY_STEP);
        return last;
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
     * Reads the summary of a finished run.
     *
     * @param folder its folder
     * @throws dev.gatun.learning.LearningException if there is none or it cannot be read; one line
     */
    @SuppressWarnings("unchecked") // an object's keys are texts
    public static Summary read(Path folder) {
        Path file = folder.resolve(FILE);
        try {
            return new Summary(JsonMapper.builder().build().readValue(Files.readString(file), LinkedHashMap.class));
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be read"), e);
        } catch (JacksonException e) {
            throw new LearningException(file + ": not a summary: " + e.getOriginalMessage(), e);
        }
    }

    /**
     * A number, wherever it is.
     *
     * @param path keys from the outside in, such as {@code scores}, {@code trained}, {@code knn}
     * @return NaN if there is no number
     */
    public double number(String... path) {
        Object node = values;
        for (String key : path) {
            node = node instanceof Map<?, ?> map ? map.get(key) : null;
        }
        return node instanceof Number number ? number.doubleValue() : Double.NaN;
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
