// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import dev.gatun.data.DatasetProvider;
import dev.gatun.data.ViewsProvider;
import dev.gatun.learning.LearningException;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.OptimizerProvider;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.method.SourceMethod;
import dev.gatun.tensor.layer.EncoderProvider;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.TokenStreamLocation;
import tools.jackson.dataformat.yaml.YAMLMapper;

/**
 * Reads pipeline files. Every error is a {@link LearningException} of one line: the file, the path of the key, what is
 * wrong and, for an unknown key or name, the known ones.
 */
public final class PipelineReader {
    private PipelineReader() {}

    /**
     * Reads a file.
     *
     * @param file the pipeline file
     * @param overrides settings of the form {@code a.b=value} that replace or add keys, in order; a list's elements are
     *     numbered from 0
     * @throws LearningException if the file or an override is wrong
     */
    public static Pipeline read(Path file, List<String> overrides) {
        return read(file, overrides, null);
    }

    /**
     * Reads a file, with another method than the file's.
     *
     * @param file the pipeline file
     * @param overrides settings of the form {@code a.b=value}
     * @param method a method's name or a {@code .java} file; replaces the whole {@code method} section before the
     *     overrides. Null = the file's method
     * @throws LearningException if the file or an override is wrong
     */
    public static Pipeline read(Path file, List<String> overrides, @Nullable String method) {
        try {
            return parse(Files.readString(file), file.toString(), overrides, method);
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be read"), e);
        }
    }

    /**
     * Reads a pipeline from text.
     *
     * @param yaml the text
     * @param name how errors name it
     * @param overrides settings of the form {@code a.b=value}
     * @param method as in {@link #read(Path, List, String)}
     * @throws LearningException if the text or an override is wrong
     */
    public static Pipeline parse(String yaml, String name, List<String> overrides, @Nullable String method) {
        Binder binder = new Binder(name);
        Map<String, Object> root = new LinkedHashMap<>(binder.mapping(tree(yaml, binder), ""));
        if (method != null) {
            root.put("method", new LinkedHashMap<>(Map.of("name", method)));
        }
        if (root.get("device") instanceof String device) {
            // the short form; an override may still set device.threads
            root.put("device", new LinkedHashMap<>(Map.of("name", device)));
        }
        for (String override : overrides) {
            apply(root, override);
        }
        return pipeline(root, binder);
    }

    private static @Nullable Object tree(String yaml, Binder binder) {
        try {
            return yaml.isBlank() ? null : mapper().readValue(yaml, Object.class);
        } catch (JacksonException e) {
            TokenStreamLocation at = e.getLocation();
            String where = at == null ? "" : "line " + at.getLineNr();
            throw binder.error(where, "not YAML: " + e.getOriginalMessage());
        }
    }

    private static YAMLMapper mapper() {
        return YAMLMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();
    }

    private static Pipeline pipeline(Map<String, Object> root, Binder binder) {
        binder.requireKnown(root, Pipeline.KEYS, "");
        if (!root.containsKey("version")) {
            throw binder.error("version", "missing; this library reads version " + Pipeline.VERSION);
        }
        Head head = binder.bind(Head.class, root, "");
        if (head.version() != Pipeline.VERSION) {
            throw binder.error(
                    "version", head.version() + " is not a version this library reads; it reads " + Pipeline.VERSION);
        }
        if (!List.of("f32", "bf16").contains(head.precision())) {
            throw binder.error("precision", "no precision " + head.precision() + "; known precisions: f32, bf16");
        }
        Object device = root.get("device") instanceof String text ? Map.of("name", text) : root.get("device");
        DeviceSettings where = plain(binder, DeviceSettings.class, device, "device");
        if (head.precision().equals("bf16") && where.name().equals("cpu")) {
            throw binder.error("precision", "the cpu computes in f32; bf16 is for the devices cuda and emulated");
        }
        return new Pipeline(
                head.version(),
                head.seed(),
                where,
                head.precision(),
                section(binder, root, "data", DatasetProvider.class, DatasetProvider::name, DatasetProvider::settings,
                        Binder.keys(BatchSettings.class)),
                binder.bind(BatchSettings.class, binder.mapping(root.get("data"), "data"), "data"),
                section(binder, root, "views", ViewsProvider.class, ViewsProvider::name, ViewsProvider::settings, Set.of()),
                section(binder, root, "model", EncoderProvider.class, EncoderProvider::name, EncoderProvider::settings,
                        Set.of()),
                section(binder, root, "method", MethodProvider.class, MethodProvider::name, MethodProvider::settings,
                        Set.of()),
                section(binder, root, "optimizer", OptimizerProvider.class, OptimizerProvider::name,
                        OptimizerProvider::settings, Set.of()),
                plain(binder, ScheduleSettings.class, root.get("schedule"), "schedule"),
                plain(binder, EvaluationSettings.class, root.get("evaluation"), "evaluation"),
                plain(binder, CheckpointSettings.class, root.get("checkpoint"), "checkpoint"));
    }

    /** The keys of the top level that are plain values. */
    private record Head(int version, long seed, String precision) {
        Head() {
            this(Pipeline.VERSION, 1, "f32");
        }
    }

    private static <R extends Record> R plain(Binder binder, Class<R> type, @Nullable Object value, String path) {
        Map<String, Object> values = binder.mapping(value, path);
        binder.requireKnown(values, Binder.keys(type), path);
        return binder.bind(type, values, path);
    }

    private static <P> Section<P> section(
            Binder binder,
            Map<String, Object> root,
            String key,
            Class<P> type,
            Function<P, String> name,
            Function<P, Class<? extends Record>> settings,
            Set<String> alsoKnown) {
        Map<String, Object> values = binder.mapping(root.get(key), key);
        List<P> providers = providers(type);
        Object chosen = values.get("name");
        List<String> names = providers.stream().map(name).sorted().toList();
        if (chosen == null) {
            throw binder.error(key + ".name", "missing; known names: " + String.join(", ", names));
        }
        P provider = null;
        if (type == MethodProvider.class && Methods.isFile(chosen.toString())) {
            provider = type.cast(SourceMethod.compile(Path.of(chosen.toString())));
        }
        for (P candidate : providers) {
            if (name.apply(candidate).equals(chosen.toString())) {
                provider = candidate;
            }
        }
        if (provider == null) {
            throw binder.error(key + ".name", "unknown name " + chosen + "; known names: " + String.join(", ", names));
        }
        Class<? extends Record> record = settings.apply(provider);
        Set<String> known = new LinkedHashSet<>(Set.of("name"));
        known.addAll(alsoKnown);
        known.addAll(Binder.keys(record));
        binder.requireKnown(values, known, key);
        return new Section<>(chosen.toString(), provider, binder.bind(record, values, key));
    }

    static <P> List<P> providers(Class<P> type) {
        List<P> providers = new ArrayList<>();
        ServiceLoader.load(type, PipelineReader.class.getClassLoader()).forEach(providers::add);
        return providers;
    }

    private static void apply(Map<String, Object> root, String override) {
        int equals = override.indexOf('=');
        if (equals < 1) {
            throw new LearningException("--set " + override + ": expected key=value, such as schedule.epochs=3");
        }
        String[] path = override.substring(0, equals).split("\\.");
        String text = override.substring(equals + 1);
        Object value;
        try {
            value = text.isBlank() ? null : mapper().readValue(text, Object.class); // as "key:" in a file: the default
        } catch (JacksonException e) {
            throw new LearningException("--set " + override + ": the value is not YAML: " + e.getOriginalMessage(), e);
        }
        Object node = root;
        for (int i = 0; i < path.length; i++) {
            boolean last = i == path.length - 1;
            node = switch (node) {
                case Map<?, ?> map -> descend(map, path[i], last, value);
                case List<?> list -> descend(list, path[i], last, value, override);
                default -> throw new LearningException(
                        "--set " + override + ": " + path[i - 1] + " is a single value, it has no key " + path[i]);
            };
        }
    }

    @SuppressWarnings("unchecked") // the YAML reader makes mutable mappings with text keys
    private static Object descend(Map<?, ?> map, String key, boolean last, @Nullable Object value) {
        Map<String, Object> node = (Map<String, Object>) map;
        if (last) {
            node.put(key, value);
            return node;
        }
        return node.merge(key, new LinkedHashMap<String, Object>(), (old, fresh) -> old);
    }

    @SuppressWarnings("unchecked") // the YAML reader makes mutable lists
    private static Object descend(List<?> list, String key, boolean last, @Nullable Object value, String override) {
        List<Object> node = (List<Object>) list;
        int index = key.matches("[0-9]{1,6}") ? Integer.parseInt(key) : -1;
        if (index < 0 || index >= node.size()) {
            throw new LearningException(
                    "--set " + override + ": the list has elements 0 to " + (node.size() - 1) + ", not " + key);
        }
        if (last) {
            node.set(index, value);
        }
        return node.get(index);
    }
}
