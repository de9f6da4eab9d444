// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import dev.gatun.data.Dataset;
import dev.gatun.learning.Method;
import dev.gatun.primitives.NativeLibrary;
import dev.gatun.tensor.Tensor;
import dev.gatun.vision.ImageDecoder;
import java.nio.file.Path;
import java.util.List;
import java.util.spi.ToolProvider;
import org.junit.jupiter.api.Test;

/** Arrows point down only, and all restricted calls are in one module. */
class ArchitectureTest {
    private static final List<Class<?>> MODULES =
            List.of(NativeLibrary.class, Tensor.class, Dataset.class, ImageDecoder.class, Method.class, Main.class);

    private static Path location(Class<?> type) {
        return Path.of(java.net.URI.create(type.getProtectionDomain().getCodeSource().getLocation().toString()));
    }

    private static JavaClasses classes() {
        return new ClassFileImporter().importPaths(MODULES.stream().map(ArchitectureTest::location).toList());
    }

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
                .check(classes());
    }

    @Test
    void onlyPrimitivesTouchesTheLinkerAndOnlyVisionTheDesktop() {
        JavaClasses all = classes();
        noClasses().that().resideOutsideOfPackage("dev.gatun.primitives..")
                .should().dependOnClassesThat().haveNameMatching("java\\.lang\\.foreign\\.(Linker|SymbolLookup|FunctionDescriptor).*")
                .check(all);
        noClasses().that().resideOutsideOfPackages("dev.gatun.vision..")
                .should().dependOnClassesThat().resideInAnyPackage("java.awt..", "javax.imageio..")
                .check(all);
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
