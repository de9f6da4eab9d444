// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import dev.gatun.data.DatasetProvider;
import dev.gatun.data.ViewsProvider;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.OptimizerProvider;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.layer.EncoderProvider;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.dataformat.yaml.YAMLMapper;
import tools.jackson.dataformat.yaml.YAMLWriteFeature;

/**
 * A whole experiment, as one pipeline file describes it. {@link #toYaml} writes every setting, defaults included, so that
 * the written file reproduces the run even after a default changes.
 *
 * @param version version of the file's format; 1
 * @param seed key of every random decision
 * @param device where the run computes
 * @param precision what encoders and heads compute in while training: {@code f32}, or on cuda and emulated {@code bf16}
 * @param data the data set
 * @param batch the batches made of it
 * @param views what a batch shows of a sample
 * @param model the encoder
 * @param method the objective
 * @param optimizer the optimizer
 * @param schedule how long, and the learning rate's course
 * @param evaluation how the features are scored
 * @param checkpoint when the run's state is written
 */
public record Pipeline(
        int version,
        long seed,
        DeviceSettings device,
        String precision,
        Section<DatasetProvider> data,
        BatchSettings batch,
        Section<ViewsProvider> views,
        Section<EncoderProvider> model,
        Section<MethodProvider> method,
        Section<OptimizerProvider> optimizer,
        ScheduleSettings schedule,
        EvaluationSettings evaluation,
        CheckpointSettings checkpoint) {
    /** The version of the file's format that this library reads and writes. */
    public static final int VERSION = 1;

    /** The top-level keys of a pipeline file. */
    public static final List<String> KEYS = List.of(
            "version", "seed", "device", "precision", "data", "views", "model", "method", "optimizer", "schedule",
            "evaluation", "checkpoint");

    /** {@link #precision} as the type that a training's passes have. */
    public DType computesIn() {
        return precision.equals("bf16") ? DType.BF16 : DType.F32;
    }

    /**
     * The same pipeline with another seed and length.
     *
     * @param seed key of every random decision
     * @param steps updates of the run
     */
    public Pipeline with(long seed, long steps) {
        return new Pipeline(
                version, seed, device, precision, data, batch, views, model, method, optimizer, schedule.withSteps(steps), evaluation,
                checkpoint);
    }

    /** The pipeline as a mapping of plain values, in the order of {@link #KEYS}. */
    public Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("version", version);
        map.put("seed", seed);
        map.put("device", Binder.unbind(device));
        map.put("precision", precision);
        Map<String, Object> dataMap = section(data);
        dataMap.putAll(Binder.unbind(batch));
        map.put("data", dataMap);
        map.put("views", section(views));
        map.put("model", section(model));
        map.put("method", section(method));
        map.put("optimizer", section(optimizer));
        map.put("schedule", Binder.unbind(schedule));
        map.put("evaluation", Binder.unbind(evaluation));
        map.put("checkpoint", Binder.unbind(checkpoint));
        return map;
    }

    /**
     * Every setting that decides the trained weights, by its path such as {@code method.temperature}. Left out: the file's format, where the data
     * lie, the device's threads (results do not depend on them) and number, the evaluation, and when checkpoints are written.
     */
    public Map<String, String> identity() {
        Map<String, Object> map = toMap();
        map.keySet().removeAll(List.of("version", "device", "evaluation", "checkpoint"));
        Map<String, String> identity = new LinkedHashMap<>();
        map.forEach((key, value) -> {
            if (value instanceof Map<?, ?> section) {
                section.forEach((name, setting) -> identity.put(key + "." + name, String.valueOf(setting)));
            } else {
                identity.put(key, String.valueOf(value));
            }
        });
        identity.remove("data.path");
        // the file may have been edited under the same name
        method.provider().fingerprint().ifPresent(fingerprint -> identity.put("method.source", fingerprint));
        // the same formulas, but other sums: another device rounds otherwise
        identity.put("device", device.arithmetic());
        return identity;
    }

    /** The pipeline as a file that {@link PipelineReader} reads back to an equal experiment. */
    public String toYaml() {
        return YAMLMapper.builder()
                .disable(YAMLWriteFeature.WRITE_DOC_START_MARKER)
                .enable(YAMLWriteFeature.INDENT_ARRAYS_WITH_INDICATOR)
                .enable(YAMLWriteFeature.MINIMIZE_QUOTES)
                .enable(YAMLWriteFeature.ALWAYS_QUOTE_NUMBERS_AS_STRINGS)
                .build()
                .writeValueAsString(toMap());
    }

    private static Map<String, Object> section(Section<?> section) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("name", section.name());
        map.putAll(Binder.unbind(section.settings()));
        return map;
    }
}
