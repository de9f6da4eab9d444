// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.torch.Torch;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * The process in which one side trains some steps: the most memory that is resident at once, from the making of the parameters on. The libraries, the
 * code and the views lay there before. Prints the bytes.
 */
public final class StepMemory {
    private static final int STEPS = 3;

    private StepMemory() {}

    /** @param arguments step, ours or a form, threads; property {@code gatun.peer} names the build */
    public static void main(String[] arguments) throws IOException {
        String step = arguments[0];
        String side = arguments[1];
        int threads = Integer.parseInt(arguments[2]);
        PrintStream out = System.out;
        System.setOut(System.err);
        Torch.Script script = null;
        Torch torch = null;
        if (!side.equals(Steps.OURS)) {
            torch = Torch.open(Torch.Build.valueOf(System.getProperty("gatun.peer").toUpperCase(Locale.ROOT)), threads);
            script = torch.load("steps");
        }
        try (Training small = Steps.open(step, threads, Steps.SMALL)) {
            train(small, side, torch, script);
        }
        try (Training start = Steps.open(step, threads)) {
            giveBack();
            long before = status("VmRSS");
            Files.writeString(Path.of("/proc/self/clear_refs"), "5");
            if (side.equals(Steps.OURS)) {
                try (Training ours = Steps.open(step, threads)) {
                    train(ours, side, null, null);
                }
            } else {
                train(start, side, torch, script);
            }
            // a second training of ours has views of its own, and so has who lays them out anew
            long views = side.equals(Steps.OURS) || side.startsWith("nchw") ? start.viewBytes() : 0;
            out.println(status("VmHWM") - before - views);
        }
        // PyTorch's threads need not be waited for
        System.exit(0);
    }

    private static void train(Training ours, String side, Torch torch, Torch.Script script) {
        if (side.equals(Steps.OURS)) {
            repeat(ours::step);
        } else {
            try (Twin twin = Twin.of(ours, torch, script, side)) {
                repeat(twin::step);
            }
        }
    }

    /** What glibc keeps of the small training's memory would otherwise be used again, uncounted. */
    private static void giveBack() {
        Linker linker = Linker.nativeLinker();
        MemorySegment trim = linker.defaultLookup().findOrThrow("malloc_trim");
        try {
            int ignored = (int) linker.downcallHandle(trim, FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG)).invokeExact(0L);
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    private static void repeat(Runnable step) {
        for (int i = 0; i < STEPS; i++) {
            step.run();
        }
    }

    /** Bytes of a line of this process's status. */
    private static long status(String key) throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
            String line = lines.filter(one -> one.startsWith(key + ":")).findFirst().orElseThrow();
            return 1024 * Long.parseLong(line.replaceAll("\\D", ""));
        }
    }
}
