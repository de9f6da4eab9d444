// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.primitives.DeviceKind;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.NativeLibrary;
import dev.gatun.tensor.Device;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

@Command(
        name = "info",
        description = "Shows versions, the device, and the instruction set chosen for each operation.",
        mixinStandardHelpOptions = true)
final class InfoCommand implements Callable<Integer> {
    @Spec
    CommandSpec spec;

    @Option(names = "--json", description = "Print one JSON object.")
    boolean json;

    @Override
    public Integer call() {
        ObjectMapper mapper = JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();
        NativeLibrary library = NativeLibrary.cpu();
        JsonNode about = mapper.readTree(library.info());
        Map<String, Object> info = new LinkedHashMap<>();
        info.put("version", Version.string());
        info.put("java", System.getProperty("java.vm.name") + " " + Runtime.version());
        info.put("os", System.getProperty("os.name") + " " + System.getProperty("os.arch"));
        Map<String, Object> libraries = new LinkedHashMap<>();
        libraries.put("gatun", library.file() + " (interface " + about.get("abi") + ", GCC " + about.get("compiler").asString() + ")");
        try (Device device = Device.cpu(0)) {
            info.put("device", about.get("device").asString());
            info.put("threads", device.threads());
            info.put("isa", about.get("isa").asString());
            libraries.put("gemm", device.gemm().name());
        }
        info.put("cuda", cuda(mapper, libraries));
        info.put("libraries", libraries);
        info.put("operations", about.get("operations"));
        var out = spec.commandLine().getOut();
        if (json) {
            out.println(mapper.writeValueAsString(info));
            return 0;
        }
        info.forEach((key, value) -> {
            if (value instanceof Map<?, ?> map) {
                map.forEach((name, text) -> out.printf("%-12s %s%n", name, text));
            } else if (value instanceof JsonNode node) {
                out.println("operations");
                node.properties().forEach(entry -> out.printf("  %-20s %s%n", entry.getKey(), entry.getValue().asString()));
            } else {
                out.printf("%-12s %s%n", key, value);
            }
        });
        return 0;
    }

    /** In one line: the devices, or why there is none. */
    private static String cuda(ObjectMapper mapper, Map<String, Object> libraries) {
        JsonNode about;
        try {
            about = mapper.readTree(NativeLibrary.of(DeviceKind.CUDA).info());
        } catch (GatunException e) {
            return "none: " + e.getMessage();
        }
        if (about.has("problem")) {
            return "none: " + about.path("problem").asString();
        }
        about.path("devices").forEach(device -> {
            int ordinal = device.path("ordinal").asInt();
            libraries.put("gemm cuda:" + ordinal, products(ordinal));
        });
        List<String> devices = new ArrayList<>();
        about.path("devices").forEach(device -> devices.add(String.format(
                Locale.ROOT, "%s (compute capability %s, %.0f GiB)", device.path("name").asString(), device.path("compute_capability").asString(),
                device.path("memory_bytes").asDouble() / (1L << 30))));
        return String.join(", ", devices) + "; driver for CUDA " + about.path("driver").asString();
    }

    /** What multiplies on a CUDA device unless its own kernel is asked for, or why nothing does. */
    private static String products(int ordinal) {
        try (Device device = Device.cuda(ordinal)) {
            return device.gemm().name();
        } catch (GatunException e) {
            return "none: " + e.getMessage();
        }
    }
}
