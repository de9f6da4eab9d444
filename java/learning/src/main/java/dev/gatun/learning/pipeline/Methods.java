// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import dev.gatun.learning.Classifier;
import dev.gatun.learning.LearningException;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.method.SourceMethod;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;

/** The methods that a pipeline file can name. */
public final class Methods {
    private Methods() {}

    /** All of them, by name. */
    public static List<MethodProvider> all() {
        return PipelineReader.providers(MethodProvider.class).stream()
                .sorted(Comparator.comparing(MethodProvider::name))
                .toList();
    }

    /**
     * One of them.
     *
     * @param name its name, or a {@code .java} file, which is compiled
     * @throws LearningException if there is none of that name, or the file holds no method; one line
     */
    public static MethodProvider find(String name) {
        if (isFile(name)) {
            return SourceMethod.compile(Path.of(name));
        }
        List<MethodProvider> all = all();
        return all.stream().filter(method -> method.name().equals(name)).findFirst().orElseThrow(() -> new LearningException(
                "unknown method " + name + "; known methods: "
                        + String.join(", ", all.stream().map(MethodProvider::name).toList())));
    }

    /**
     * Whether a method's name is a file.
     *
     * @param name a name
     */
    public static boolean isFile(String name) {
        return name.endsWith(".java");
    }

    /**
     * The keys of a method's section with their defaults, as a pipeline file would hold them.
     *
     * @param method the method
     */
    public static Map<String, Object> defaults(MethodProvider method) {
        return Binder.unbind(defaultSettings(method));
    }

    /**
     * Whether a method learns to predict classes.
     *
     * @param method the method
     */
    public static boolean classifies(MethodProvider method) {
        return method.create(defaultSettings(method)) instanceof Classifier;
    }

    private static Record defaultSettings(MethodProvider method) {
        return new Binder("defaults").bind(method.settings(), Map.of(), "method");
    }
}
