// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.LearningException;
import dev.gatun.learning.Method;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SourceMethodTest {
    private static final String GOOD = """
            import dev.gatun.data.Batch;
            import dev.gatun.learning.*;
            import dev.gatun.tensor.Tensor;

            class Mine implements Method {
                record Helper(int x) {}
                public void build(MethodBuild build) {}
                public Tensor loss(Batch batch, Step step) { return batch.views().getFirst().images().mean(); }
            }
            """;

    @TempDir
    Path folder;

    private Path write(String source) throws IOException {
        return Files.writeString(folder.resolve("Mine.java"), source);
    }

    @Test
    void compilesAMethodAndItsHelpers() throws IOException {
        SourceMethod provider = SourceMethod.compile(write(GOOD));
        Method method = provider.create(new SourceMethod.Settings());
        assertEquals("Mine", method.getClass().getSimpleName());
        assertEquals(folder.resolve("Mine.java").toString(), provider.name());
        assertTrue(provider.paper().contains("Mine"));
        assertEquals("Mine", SourceMethod.compile(write("package some.where;\n" + GOOD))
                .create(new SourceMethod.Settings()).getClass().getSimpleName());
    }

    private String error(String source) throws IOException {
        Path file = write(source);
        String message = assertThrows(
                LearningException.class, () -> SourceMethod.compile(file).create(new SourceMethod.Settings())).getMessage();
        assertTrue(message.startsWith(file.toString()), message);
        assertFalse(message.contains("\n"), message);
        return message;
    }

    @Test
    void errorsNameTheLine() throws IOException {
        assertTrue(error(GOOD.replace("images().mean()", "pictures().mean()")).contains("Mine.java:8: cannot find symbol"));
        assertTrue(error("class Mine {}").contains("expected one class that implements dev.gatun.learning.Method, found 0"));
        assertTrue(error(GOOD.replace("record Helper(int x) {}", "Mine(int x) {}")).contains("constructor without parameters"));
        assertTrue(error(GOOD.replace("record Helper(int x) {}", "Mine() { throw new IllegalStateException(\"no\"); }"))
                .contains("the constructor of Mine fails"));
        assertThrows(LearningException.class, () -> SourceMethod.compile(folder.resolve("none.java")));
    }
}
