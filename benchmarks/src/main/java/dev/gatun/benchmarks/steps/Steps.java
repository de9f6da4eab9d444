// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Winograd;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** The steps of configs/steps/cpu, and PyTorch's forms of them. */
public final class Steps {
    public static final String OURS = "ours";

    static final String MASKED = "_masked";
    static final String SUBSET = "_subset";

    /** Of a training that only loads classes, code and libraries, or lets them be compiled. */
    static final String SMALL = "data.batch=2";

    private static final long COMPILING_NANOS = 10_000_000_000L;

    private static final Set<String> COMPILED = new HashSet<>();

    private static final Path FOLDER = Path.of("configs", "steps", "cpu");

    private Steps() {}

    /** Those whose memory is measured: all but the one that is allowed an error, which keeps what the exact one does. */
    public static List<String> names() {
        return List.of("swav", "cosub-subset", "cosub-mask", "resnet18");
    }

    /** PyTorch's forms of a step; what computes a subset of the rows stands beside the mask that people write. */
    public static List<String> forms(String step) {
        List<String> drops =
                switch (step) {
                    case "cosub-subset" -> List.of(MASKED, SUBSET);
                    case "cosub-mask" -> List.of(MASKED);
                    default -> List.of("");
                };
        return List.of(Twin.Form.MODULES, step.startsWith("resnet") ? Twin.Form.NCHW : Twin.Form.ONE_BY_ONE).stream()
                .flatMap(form -> drops.stream().map(drop -> form.text() + drop))
                .toList();
    }

    /** The forms that a step is to be compared with: stochastic depth with the mask. */
    public static List<String> usual(String step) {
        return forms(step).stream().filter(form -> !form.endsWith(SUBSET)).toList();
    }

    static Training open(String step, int threads, String... overrides) {
        String[] parts = Winograd.shape(step).split("-");
        List<String> all = new ArrayList<>(Arrays.asList(overrides));
        if (Winograd.allowed(step)) {
            all.add("model.allowed_error=" + Winograd.ALLOWED_ERROR);
        }
        if (parts.length > 1) {
            all.add("model.drop_path_form=" + parts[1]);
        }
        return new Training(FOLDER.resolve(parts[0] + ".yaml"), all, threads);
    }

    /**
     * Trains small steps until the just-in-time compiler has most of the code of a step behind it: in a training that is over after seconds, in the few
     * steps of a benchmark not, where it takes a core from the threads of the kernels. Once a process: of what an error is allowed the code is the same.
     */
    static synchronized void compile(String step, int threads) {
        if (!COMPILED.add(Winograd.shape(step))) {
            return;
        }
        try (Training small = open(step, threads, SMALL)) {
            repeat(small::step, COMPILING_NANOS);
        }
    }

    static void repeat(Runnable work, long nanos) {
        for (long start = System.nanoTime(); System.nanoTime() - start < nanos; ) {
            work.run();
        }
    }
}
