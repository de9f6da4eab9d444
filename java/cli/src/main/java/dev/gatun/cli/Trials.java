// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.primitives.DeviceKind;
import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.NativeLibrary;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/** The native program beside a device's library that tries every kernel of it. A process of its own: a kernel that dies takes nothing along. */
final class Trials {
    private static final ObjectMapper MAPPER = JsonMapper.builder().build();

    private final Path program;

    private Trials(Path program) {
        this.program = program;
    }

    /**
     * The trials of a device that this machine has.
     *
     * @throws GatunException NO_DEVICE with the reason where it has not
     */
    static Trials of(DeviceKind kind) {
        NativeLibrary library = NativeLibrary.of(kind);
        if (kind == DeviceKind.CUDA) {
            GatunContext.cuda(0).close();
        }
        Path program = library.file().resolveSibling("gatun-trials-" + kind);
        if (!Files.isExecutable(program)) {
            throw new IllegalStateException(program + " is missing; `make trials DEVICE=" + kind + "` builds it, the archive of `make dist` has it");
        }
        return new Trials(program);
    }

    /** The rows that a bench would have, without running them. */
    List<JsonNode> list(List<String> operations) throws IOException, InterruptedException {
        List<JsonNode> rows = new ArrayList<>();
        run("list", arguments(operations), rows::add);
        return rows;
    }

    static Set<String> operations(List<JsonNode> rows) {
        Set<String> names = new LinkedHashSet<>();
        rows.forEach(row -> names.add(row.path("operation").asString()));
        return names;
    }

    static List<String> arguments(List<String> operations) {
        List<String> arguments = new ArrayList<>();
        operations.forEach(operation -> arguments.addAll(List.of("--op", operation)));
        return arguments;
    }

    /**
     * Runs a command of the program; its lines go to {@code row} as they come.
     *
     * @return its exit status: 0, or 1 where a kernel missed its bound
     * @throws IOException if it ended otherwise
     */
    int run(String command, List<String> arguments, Consumer<JsonNode> row) throws IOException, InterruptedException {
        List<String> line = new ArrayList<>(List.of(program.toString(), command, "--json"));
        line.addAll(arguments);
        Process process = new ProcessBuilder(line).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        Thread stop = new Thread(process::destroy);
        Runtime.getRuntime().addShutdownHook(stop);
        try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
            for (String text = out.readLine(); text != null; text = out.readLine()) {
                row.accept(MAPPER.readTree(text));
            }
            int status = process.waitFor();
            if (status != 0 && status != 1) {
                throw new IOException(program.getFileName() + " " + command + " ended with status " + status + "; what it said stands above");
            }
            return status;
        } finally {
            process.destroy();
            Runtime.getRuntime().removeShutdownHook(stop);
        }
    }
}
