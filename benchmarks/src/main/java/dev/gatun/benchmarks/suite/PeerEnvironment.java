// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A process with one build of PyTorch, set as it is fastest, or with ND4J, and ours beside it.
 *
 * @param name djl, presets, openblas, djl-default, djl-avx2, nd4j ...
 * @param build djl, presets, nd4j or none
 * @param mkl whether the presets' products are MKL's instead of OpenBLAS's
 * @param rounds of a row; 0 for as many as the benchmark says
 * @param variables of the process's environment
 */
record PeerEnvironment(String name, String build, boolean mkl, int rounds, Map<String, String> variables) {
    /** Blocks up to 4 GiB are reused instead of being given back to the system and faulted in again, page by page. */
    private static final Map<String, String> TUNED =
            Map.of("MALLOC_MMAP_THRESHOLD_", "4294967296", "MALLOC_TRIM_THRESHOLD_", "8589934592", "MALLOC_ARENA_MAX", "1");

    /** All of ours and all of PyTorch's libraries at AVX2. */
    private static final Map<String, String> AVX2 = Map.of(
            "GATUN_ISA", "avx2",
            "ATEN_CPU_CAPABILITY", "avx2",
            "ONEDNN_MAX_CPU_ISA", "AVX2",
            "DNNL_MAX_CPU_ISA", "AVX2",
            "MKL_ENABLE_INSTRUCTIONS", "AVX2",
            // OpenBLAS has no name for the set: the processor that brought it
            "OPENBLAS_CORETYPE", "Haswell");

    private static final String LIBRARIES = "libraries";
    private static final String OPENBLAS = "openblas";

    /** The rounds of what only stands beside the tuned builds. */
    private static final int FEW = 3;

    /** What is measured where nothing else is asked for. */
    static List<PeerEnvironment> all() {
        return List.of(
                of("djl", "djl", true, 0, TUNED),
                of("presets", "presets", true, 0, TUNED),
                of("djl-default", "djl", true, FEW, Map.of()),
                of("djl-avx2", "djl", true, FEW, TUNED, AVX2),
                of("nd4j", "nd4j", false, FEW, TUNED));
    }

    /**
     * Measured where it is asked for. Without PyTorch, the libraries that the device's interface of products could pick stand beside ours; the presets'
     * PyTorch with OpenBLAS, whose threads keep the cores busy in everybody's turns.
     */
    static List<PeerEnvironment> asked() {
        return List.of(of(LIBRARIES, "", false, 0), of(OPENBLAS, "presets", false, FEW, TUNED));
    }

    /** Whether figures of the environment are put on record: not where its threads disturb the turns of ours and the ceilings'. */
    boolean recorded() {
        return !name.equals(OPENBLAS);
    }

    @SafeVarargs
    private static PeerEnvironment of(String name, String build, boolean mkl, int rounds, Map<String, String>... parts) {
        Map<String, String> variables = new LinkedHashMap<>();
        variables.put("MKL_THREADING_LAYER", "GNU");
        for (Map<String, String> part : parts) {
            variables.putAll(part);
        }
        return new PeerEnvironment(name, build, mkl, rounds, variables);
    }

    /** What a process stands for in the report. */
    enum Kind {
        /** as fast as PyTorch can be had */
        TUNED,
        DEFAULT_ALLOCATOR,
        AVX2,
        ND4J,
        /** nobody but the libraries of products */
        LIBRARIES
    }

    /** Of the environment with this name. */
    static Kind kind(String name) {
        if (name.endsWith("-default")) {
            return Kind.DEFAULT_ALLOCATOR;
        }
        if (name.equals(LIBRARIES)) {
            return Kind.LIBRARIES;
        }
        if (name.equals("nd4j")) {
            return Kind.ND4J;
        }
        return name.endsWith("-avx2") ? Kind.AVX2 : Kind.TUNED;
    }

    /** The variables of a process whose peer uses so many threads; PyTorch is told when it starts. */
    Map<String, String> variables(int threads) {
        Map<String, String> all = new LinkedHashMap<>(variables);
        if (build.equals("nd4j")) {
            for (String name : List.of("OMP_NUM_THREADS", "SD_MAX_THREADS", "SD_MASTER_THREADS")) {
                all.put(name, String.valueOf(threads));
            }
        }
        return all;
    }

    /** A process of this environment. */
    ProcessBuilder process(int threads, List<String> moreOptions, Class<?> main, String... arguments) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(javaOptions());
        command.addAll(moreOptions);
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().putAll(variables(threads));
        return builder;
    }

    private List<String> javaOptions() {
        List<String> options = new ArrayList<>(List.of(
                "--enable-native-access=ALL-UNNAMED",
                "-Xmx4g",
                "-Dgatun.peer=" + build,
                // resident memory is not Java's to judge where a peer allocates beside it
                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
                "-Dorg.bytedeco.javacpp.maxBytes=0",
                "-Djmh.ignoreLock=true",
                // of libraries, about themselves
                "--sun-misc-unsafe-memory-access=allow",
                "-Dslf4j.internal.verbosity=ERROR"));
        if (mkl) {
            options.add("-Dorg.bytedeco.openblas.load=mkl");
        }
        String library = System.getProperty("gatun.library");
        if (library != null) {
            options.add("-Dgatun.library=" + library);
        }
        return options;
    }
}
