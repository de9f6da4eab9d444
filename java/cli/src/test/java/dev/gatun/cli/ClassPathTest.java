// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.gatun.data.Dataset;
import dev.gatun.learning.Method;
import dev.gatun.tensor.Tensor;
import dev.gatun.vision.ImageDecoder;
import java.io.File;
import java.lang.module.ModuleDescriptor;
import java.lang.module.ModuleFinder;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Whoever has the modules on the class path finds the data sets, views, encoders, methods and optimizers that modules offer. */
class ClassPathTest {
    private static final List<Class<?>> MODULES = List.of(Tensor.class, Dataset.class, ImageDecoder.class, Method.class);

    @Test
    void theClassPathOffersWhatModulesDo() throws Exception {
        Map<String, Set<String>> declared = new TreeMap<>();
        for (Class<?> type : MODULES) {
            Path location = Path.of(URI.create(type.getProtectionDomain().getCodeSource().getLocation().toString()));
            ModuleDescriptor module = ModuleFinder.of(location).findAll().iterator().next().descriptor();
            module.provides().forEach(service -> declared.computeIfAbsent(service.service(), name -> new TreeSet<>()).addAll(service.providers()));
        }
        assertFalse(declared.isEmpty());
        List<URL> urls = new ArrayList<>();
        for (String entry : Stream.of("jdk.module.path", "java.class.path")
                .flatMap(property -> Stream.of(System.getProperty(property, "").split(File.pathSeparator)))
                // tests have providers of their own
                .filter(entry -> !entry.isEmpty() && !entry.contains("test-classes"))
                .toList()) {
            urls.add(Path.of(entry).toUri().toURL());
        }
        // the platform's loader would hand over to that of the modules
        try (URLClassLoader loader = new URLClassLoader(urls.toArray(URL[]::new), null)) {
            for (Map.Entry<String, Set<String>> service : declared.entrySet()) {
                Set<String> found = new HashSet<>();
                Class<?> type = loader.loadClass(service.getKey());
                ClassPathTest.class.getModule().addUses(type);
                ServiceLoader.load(type, loader).forEach(provider -> found.add(provider.getClass().getName()));
                assertEquals(service.getValue(), new TreeSet<>(found), service.getKey());
            }
        }
    }
}
