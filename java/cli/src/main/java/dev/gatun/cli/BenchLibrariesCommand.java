// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunEvent;
import dev.gatun.primitives.GatunException;
import dev.gatun.tensor.CudaSettings;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

@Command(
        name = "bench-libraries",
        description = {
            "Times matrix products and convolutions by Gatun's own kernels and, in the same run, by cuBLASLt and cuDNN where they are installed.",
            "Medians of five batches that take turns; events around a batch. Operands take turns too, so that they do not all stay in the cache."
        },
        mixinStandardHelpOptions = true,
        footer = {"", "  gatun bench-libraries --device cuda --json libraries.json"})
final class BenchLibrariesCommand implements Callable<Integer> {
    /** More than the level 2 cache of any device so far. */
    private static final long MORE_THAN_CACHE = 192L << 20;

    private static final int BATCHES = 5;
    private static final double BATCH_SECONDS = 5e-3;

    @Spec
    CommandSpec spec;

    @Option(names = "--device", paramLabel = "NAME", defaultValue = "cuda", description = "cuda, cuda:N or emulated. Default: ${DEFAULT-VALUE}")
    String device = "cuda";

    @Option(names = "--quick", description = "Small shapes only, which says nothing about speed.")
    boolean quick;

    @Option(names = "--json", paramLabel = "FILE", description = "Also write what was timed.")
    @Nullable Path json;

    /** Who computes on which device; absent where the library is missing. */
    private record Side(Device device, GatunEvent start, GatunEvent end) implements AutoCloseable {
        static Side of(Device device) {
            GatunContext context = device.stream().context();
            return new Side(device, new GatunEvent(context), new GatunEvent(context));
        }

        @Override
        public void close() {
            start.close();
            end.close();
            device.close();
        }
    }

    private final ArrayNode timed = JsonMapper.builder().build().createArrayNode();

    @Override
    public Integer call() throws IOException {
        if (!device.matches("emulated|cuda(:\\d{1,3})?")) {
            throw new ParameterException(spec.commandLine(), "--device: no device " + device + "; known devices: cuda, cuda:N, emulated");
        }
        PrintWriter out = spec.commandLine().getOut();
        CudaSettings own = CudaSettings.DEFAULT.withGemm(CudaSettings.Products.GATUN);
        try (Side gatun = Side.of(device.equals("emulated") ? Device.emulated() : Device.cuda(ordinal(), own))) {
            time(LibraryRow.GEMM, gatun, library(CudaSettings.DEFAULT, out), out);
            time(LibraryRow.CONVOLUTION, gatun, library(own.withConvolution(CudaSettings.Convolutions.CUDNN), out), out);
        }
        if (json != null) {
            Files.writeString(json, timed.toPrettyString() + System.lineSeparator());
        }
        return 0;
    }

    private int ordinal() {
        return device.contains(":") ? Integer.parseInt(device.substring(device.indexOf(':') + 1)) : 0;
    }

    private Optional<Side> library(CudaSettings settings, PrintWriter out) {
        if (device.equals("emulated")) {
            return Optional.empty();
        }
        try {
            return Optional.of(Side.of(Device.cuda(ordinal(), settings)));
        } catch (GatunException e) {
            out.println(e.getMessage());
            return Optional.empty();
        }
    }

    private void time(String operation, Side gatun, Optional<Side> library, PrintWriter out) {
        try {
            String name = library.map(side -> operation.equals(LibraryRow.GEMM)
                    ? side.device.gemm().name()
                    : side.device.convolution().name()).orElse("no library");
            out.printf("%-24s %-5s %-17s %12s %9s %12s %9s %s%n", operation, "dtype", "pass", "Gatun us", "TFLOP/s", "library us", "TFLOP/s", name);
            for (LibraryRow row : LibraryRow.all(quick)) {
                if (row.operation().equals(operation)) {
                    report(row, row(row, gatun, library, out), name, out);
                }
            }
        } finally {
            library.ifPresent(Side::close);
        }
    }

    /** By Gatun alone where the library has no such algorithm. */
    private double[] row(LibraryRow row, Side gatun, Optional<Side> library, PrintWriter out) {
        try {
            return seconds(row, gatun, library);
        } catch (GatunException e) {
            if (e.status() != GatunException.Status.UNSUPPORTED || library.isEmpty()) {
                throw e;
            }
            out.println(e.getMessage());
            return seconds(row, gatun, Optional.empty());
        }
    }

    /** Seconds of one call by each side. */
    private double[] seconds(LibraryRow row, Side gatun, Optional<Side> library) {
        List<Side> sides = new ArrayList<>(List.of(gatun));
        library.ifPresent(sides::add);
        List<Scope> scopes = new ArrayList<>();
        try {
            List<List<Runnable>> works = new ArrayList<>();
            int[] calls = new int[sides.size()];
            for (int i = 0; i < calls.length; i++) {
                scopes.add(sides.get(i).device.scope().open());
                works.add(works(row, sides.get(i).device, scopes.get(i)));
                batch(sides.get(i), works.get(i), works.get(i).size());
                double once = batch(sides.get(i), works.get(i), 1);
                calls[i] = quick ? 1 : (int) Math.clamp(Math.ceil(BATCH_SECONDS / once), 1, 1000);
            }
            double[][] times = new double[calls.length][BATCHES];
            for (int b = 0; b < BATCHES; b++) {
                for (int i = 0; i < calls.length; i++) {
                    times[i][b] = batch(sides.get(i), works.get(i), calls[i]) / calls[i];
                }
            }
            return Arrays.stream(times).mapToDouble(t -> Arrays.stream(t).sorted().toArray()[BATCHES / 2]).toArray();
        } finally {
            scopes.forEach(Scope::close);
        }
    }

    /** The work with as many sets of operands as do not fit into the cache together. */
    private List<Runnable> works(LibraryRow row, Device on, Scope scope) {
        long before = on.liveBytes();
        List<Runnable> works = new ArrayList<>(List.of(row.work(on, scope)));
        long bytes = Math.max(on.liveBytes() - before, 1);
        for (long sets = 1; !quick && sets < 8 && sets * bytes < MORE_THAN_CACHE; sets++) {
            works.add(row.work(on, scope));
        }
        return works;
    }

    private static double batch(Side side, List<Runnable> works, int calls) {
        side.start.record(side.device.stream());
        for (int i = 0; i < calls; i++) {
            works.get(i % works.size()).run();
        }
        side.end.record(side.device.stream());
        return side.end.secondsSince(side.start);
    }

    private void report(LibraryRow row, double[] seconds, String name, PrintWriter out) {
        ObjectNode node = timed.addObject();
        node.put("operation", row.operation()).put("shape", row.shape()).put("dtype", row.dtype().toString()).put("pass", row.pass());
        node.put("flops", row.flops()).put("seconds", seconds[0]);
        String theirs = "";
        if (seconds.length > 1) {
            node.put("library", name).put("library_seconds", seconds[1]);
            theirs = String.format(
                    Locale.ROOT, "%12.1f %9.2f %6.2f x", seconds[1] * 1e6, row.flops() / seconds[1] * 1e-12, seconds[1] / seconds[0]);
        }
        out.printf(
                Locale.ROOT, "%-24s %-5s %-17s %12.1f %9.2f %s%n", row.shape(), row.dtype(), row.pass(), seconds[0] * 1e6,
                row.flops() / seconds[0] * 1e-12, theirs);
    }
}
