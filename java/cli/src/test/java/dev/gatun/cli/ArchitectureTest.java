// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import dev.gatun.data.Dataset;
import dev.gatun.data.Loader;
import dev.gatun.learning.Experiment;
import dev.gatun.learning.Method;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.Pretraining;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.checkpoint.Checkpoint;
import dev.gatun.learning.pipeline.Methods;
import dev.gatun.primitives.NativeLibrary;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Tensor;
import dev.gatun.vision.ImageDecoder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.spi.ToolProvider;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Arrows point down only, and all restricted calls are in one module. */
class ArchitectureTest {
    private static final List<Class<?>> MODULES =
            List.of(NativeLibrary.class, Tensor.class, Dataset.class, ImageDecoder.class, Method.class, Main.class);

    private static Path location(Class<?> type) {
        return Path.of(java.net.URI.create(type.getProtectionDomain().getCodeSource().getLocation().toString()));
    }

    private static final JavaClasses CLASSES =
            new ClassFileImporter().importPaths(MODULES.stream().map(ArchitectureTest::location).toList());

    @Test
    void arrowsPointDown() {
        layeredArchitecture()
                .consideringOnlyDependenciesInLayers()
                .layer("primitives").definedBy("dev.gatun.primitives..")
                .layer("tensor").definedBy("dev.gatun.tensor..")
                .layer("data").definedBy("dev.gatun.data..")
                .layer("vision").definedBy("dev.gatun.vision..")
                .layer("learning").definedBy("dev.gatun.learning..")
                .layer("cli").definedBy("dev.gatun.cli..")
                .whereLayer("cli").mayNotBeAccessedByAnyLayer()
                .whereLayer("learning").mayOnlyBeAccessedByLayers("cli")
                .whereLayer("vision").mayOnlyBeAccessedByLayers("cli")
                .whereLayer("data").mayOnlyBeAccessedByLayers("vision", "learning", "cli")
                .whereLayer("tensor").mayOnlyBeAccessedByLayers("data", "vision", "learning", "cli")
                .check(CLASSES);
    }

    @Test
    void onlyPrimitivesTouchesTheLinkerAndOnlyVisionTheDesktop() {
        noClasses().that().resideOutsideOfPackage("dev.gatun.primitives..")
                .should().dependOnClassesThat().haveNameMatching("java\\.lang\\.foreign\\.(Linker|SymbolLookup|FunctionDescriptor).*")
                .check(CLASSES);
        noClasses().that().resideOutsideOfPackages("dev.gatun.vision..")
                .should().dependOnClassesThat().resideInAnyPackage("java.awt..", "javax.imageio..")
                .check(CLASSES);
    }

    /** A method is what its paper says, on tensors: it runs on any device, for any modality, under any trainer. */
    @Test
    void methodsKnowNeitherDeviceNorModalityNorTrainerAndNoTrainerKnowsAMethod() {
        noClasses().that().resideInAPackage("dev.gatun.learning.method..")
                .should().dependOnClassesThat().resideInAnyPackage("dev.gatun.vision..", "dev.gatun.cli..")
                .orShould().dependOnClassesThat().areAssignableTo(Device.class)
                .orShould().dependOnClassesThat().areAssignableTo(Trainer.class)
                .orShould().dependOnClassesThat().areAssignableTo(Experiment.class)
                .orShould().dependOnClassesThat().areAssignableTo(Pretraining.class)
                .orShould().dependOnClassesThat().areAssignableTo(Loader.class)
                .orShould().dependOnClassesThat().areAssignableTo(Checkpoint.class)
                .check(CLASSES);
        noClasses().that().resideInAPackage("dev.gatun.learning")
                .should().dependOnClassesThat().resideInAPackage("dev.gatun.learning.method..")
                .check(CLASSES);
    }

    /** Every method is found by its provider, under a name of its own. */
    @Test
    void everyMethodHasAProvider() {
        List<MethodProvider> providers = Methods.all();
        Set<String> offered = providers.stream().map(provider -> provider.getClass().getName()).collect(Collectors.toSet());
        List<JavaClass> methods = CLASSES.stream()
                .filter(type -> type.isAssignableTo(Method.class) && !type.isInterface() && !type.getModifiers().contains(JavaModifier.ABSTRACT))
                .toList();
        assertTrue(methods.size() >= 8, methods.toString());
        for (JavaClass method : methods) {
            assertTrue(offered.contains(method.getName() + "Provider"), method.getName());
        }
        List<String> names = providers.stream().map(MethodProvider::name).toList();
        assertEquals(names.size(), Set.copyOf(names).size(), names.toString());
    }

    /** A method that needs more lines than these needs a building block that others can use too. */
    @Test
    void noMethodIsLong() throws IOException {
        Path root = Path.of("").toAbsolutePath();
        while (!Files.isDirectory(root.resolve("java/learning"))) {
            root = root.getParent();
        }
        Path methods = root.resolve("java/learning/src/main/java/dev/gatun/learning/method");
        int seen = 0;
        for (JavaClass type : CLASSES) {
            if (type.isAssignableTo(Method.class) && type.getPackageName().equals("dev.gatun.learning.method")) {
                String file = type.getSource().orElseThrow().getFileName().orElseThrow();
                assertTrue(Files.readAllLines(methods.resolve(file)).size() <= 150, file);
                seen++;
            }
        }
        assertTrue(seen >= 8, "methods found: " + seen);
    }

    @Test
    void restrictedMethodsAreOnlyInPrimitives() {
        // jnativescan is the JDK's own word on which methods are restricted.
        ToolProvider scan = ToolProvider.findFirst("jnativescan").orElseThrow();
        for (Class<?> type : MODULES) {
            java.io.StringWriter out = new java.io.StringWriter();
            java.io.StringWriter err = new java.io.StringWriter();
            int status = scan.run(new java.io.PrintWriter(out), new java.io.PrintWriter(err),
                    "--class-path", location(type).toString(), "--release", "25", "--print-native-access");
            assertEquals(0, status, err.toString());
            boolean restricted = out.toString().contains("ALL-UNNAMED");
            assertEquals(type == NativeLibrary.class, restricted, type + ": " + out);
        }
    }
}
