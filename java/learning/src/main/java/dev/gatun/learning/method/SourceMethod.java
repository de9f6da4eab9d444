// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.LearningException;
import dev.gatun.learning.Method;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.checkpoint.AtomicFile;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.module.ModuleReference;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Modifier;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.zip.CRC32;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/**
 * A method in one {@code .java} file, compiled in memory when the pipeline is read: no build step. The file holds one
 * class that implements {@link Method} and has a constructor without parameters; helpers, such as a custom function, may
 * stand beside or inside it.
 */
public final class SourceMethod implements MethodProvider {
    /** A method from a file has no keys of its own. */
    public record Settings() {}

    private final Path file;
    private final String source;
    private final Class<? extends Method> type;

    private SourceMethod(Path file, String source, Class<? extends Method> type) {
        this.file = file;
        this.source = source;
        this.type = type;
    }

    /**
     * Compiles a file.
     *
     * @param file the {@code .java} file
     * @throws LearningException if it cannot be read, does not compile (with the line) or holds no method; one line
     */
    public static SourceMethod compile(Path file) {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        if (compiler == null) {
            throw new LearningException(file + ": compiling a method needs a JDK; this is a Java runtime without compiler");
        }
        String source;
        try {
            source = Files.readString(file);
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be read"), e);
        }
        DiagnosticCollector<JavaFileObject> diagnostics = new DiagnosticCollector<>();
        Memory memory = new Memory(compiler.getStandardFileManager(diagnostics, null, StandardCharsets.UTF_8));
        List<String> options = List.of("-proc:none", "-parameters", "-Xlint:none", "-classpath", classpath());
        boolean compiled = compiler.getTask(null, memory, diagnostics, options, null, List.of(new Source(file, source)))
                .call();
        if (!compiled) {
            for (Diagnostic<?> diagnostic : diagnostics.getDiagnostics()) {
                if (diagnostic.getKind() == Diagnostic.Kind.ERROR) {
                    throw new LearningException(file + ":" + diagnostic.getLineNumber() + ": "
                            + diagnostic.getMessage(null));
                }
            }
            throw new LearningException(file + ": does not compile");
        }
        return new SourceMethod(file, source, find(file, memory.loader()));
    }

    private static Class<? extends Method> find(Path file, Loader loader) {
        List<Class<? extends Method>> found = new ArrayList<>();
        for (String name : loader.names()) {
            Class<?> candidate = loader.define(name);
            if (Method.class.isAssignableFrom(candidate) && !Modifier.isAbstract(candidate.getModifiers())) {
                found.add(candidate.asSubclass(Method.class));
            }
        }
        if (found.size() != 1) {
            throw new LearningException(file + ": expected one class that implements " + Method.class.getName() + ", found "
                    + found.size());
        }
        return found.getFirst();
    }

    // the compiler sees what this program was started with: modules and class path alike
    private static String classpath() {
        Set<String> entries = new LinkedHashSet<>(List.of(System.getProperty("java.class.path", "").split(File.pathSeparator)));
        ModuleLayer layer = SourceMethod.class.getModule().getLayer();
        if (layer != null) {
            layer.configuration().modules().stream()
                    .map(module -> module.reference())
                    .map(ModuleReference::location)
                    .flatMap(java.util.Optional::stream)
                    .filter(location -> location.getScheme().equals("file"))
                    .forEach(location -> entries.add(Path.of(location).toString()));
        }
        entries.remove("");
        return String.join(File.pathSeparator, entries);
    }

    @Override
    public Optional<String> explain(RuntimeException exception) {
        for (StackTraceElement frame : exception.getStackTrace()) {
            if (Loader.NAME.equals(frame.getClassLoaderName()) && frame.getLineNumber() > 0) {
                Class<?> type = exception.getClass();
                // Java's own messages need the kind of trouble beside them
                String kind = type.getName().startsWith("dev.gatun.") ? "" : type.getSimpleName().replaceAll("Exception$", "") + ": ";
                return Optional.of(file + ":" + frame.getLineNumber() + ": " + kind + exception.getMessage());
            }
        }
        return Optional.empty();
    }

    @Override
    public String name() {
        return file.toString();
    }

    /** CRC-32 of the text: an edit is meant to be seen, not to be hidden. */
    @Override
    public Optional<String> fingerprint() {
        CRC32 crc = new CRC32();
        crc.update(source.getBytes(StandardCharsets.UTF_8));
        return Optional.of("%08x".formatted(crc.getValue()));
    }

    @Override
    public String paper() {
        return "a method of your own, " + type.getSimpleName();
    }

    @Override
    public String citation() {
        return "your own";
    }

    @Override
    public String needs() {
        return "";
    }

    @Override
    public String config() {
        return "";
    }

    @Override
    public String advice() {
        return "";
    }

    @Override
    public Class<? extends Record> settings() {
        return Settings.class;
    }

    @Override
    public Method create(Record settings) {
        try {
            var constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return constructor.newInstance();
        } catch (InvocationTargetException e) {
            throw new LearningException(file + ": the constructor of " + type.getName() + " fails: " + e.getCause(), e);
        } catch (ReflectiveOperationException e) {
            throw new LearningException(
                    file + ": " + type.getName() + " needs a constructor without parameters that does not throw", e);
        }
    }

    private static final class Source extends SimpleJavaFileObject {
        private final String text;

        Source(Path file, String text) {
            super(URI.create("source:///" + file.getFileName().toString().replace(' ', '_')), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }
    }

    private static final class Memory extends ForwardingJavaFileManager<JavaFileManager> {
        private final Map<String, ByteArrayOutputStream> classes = new LinkedHashMap<>();

        Memory(JavaFileManager manager) {
            super(manager);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(
                Location location, String className, JavaFileObject.Kind kind, FileObject sibling) {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            classes.put(className, bytes);
            return new SimpleJavaFileObject(URI.create("memory:///" + className.replace('.', '/') + ".class"), kind) {
                @Override
                public OutputStream openOutputStream() {
                    return bytes;
                }
            };
        }

        Loader loader() {
            return new Loader(classes);
        }
    }

    private static final class Loader extends ClassLoader {
        static final String NAME = "method-file";
        private final Map<String, ByteArrayOutputStream> classes;

        Loader(Map<String, ByteArrayOutputStream> classes) {
            super(NAME, SourceMethod.class.getClassLoader());
            this.classes = classes;
        }

        Set<String> names() {
            return classes.keySet();
        }

        Class<?> define(String name) {
            try {
                return loadClass(name);
            } catch (ClassNotFoundException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            ByteArrayOutputStream bytes = classes.get(name);
            if (bytes == null) {
                throw new ClassNotFoundException(name);
            }
            byte[] code = bytes.toByteArray();
            return defineClass(name, code, 0, code.length);
        }
    }
}
