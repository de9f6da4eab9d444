// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.torch;

import dev.gatun.primitives.Operand;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;

/**
 * PyTorch on the CPU inside this process, one of two builds. What it computes is TorchScript text, one file an operation
 * ({@code <operation>.py} among the resources), interpreted without any graph optimisation, that is as eager mode does it, so that both
 * builds run the very same calls. A process can hold one build only: their symbols are the same.
 */
public interface Torch {
    /** Where a build comes from. */
    enum Build {
        /** the official build with MKL and oneDNN, as DJL ships it */
        DJL,
        /** JavaCPP's presets with MKL */
        PRESETS
    }

    /** A tensor, number or list as an argument, or what a script returned. */
    interface Value extends AutoCloseable {
        /** The tensors of a returned list as arrays in row-major order. */
        List<float[]> floats();

        @Override
        void close();
    }

    /** A loaded script; runs on the thread that loaded it, where the optimisation of graphs is off. */
    interface Script {
        Value run(String method, Value... arguments);
    }

    /** Starts the build; the environment must be that of {@code PeerEnvironment}. */
    static Torch open(Build build, int threads) {
        return switch (build) {
            case DJL -> new DjlTorch(threads);
            case PRESETS -> new PresetsTorch(threads);
        };
    }

    Build build();

    /** PyTorch's own version. */
    String version();

    Script compile(String source);

    /** A contiguous tensor over the operand's memory, not a copy; the memory must outlive it. */
    Value tensor(Operand operand);

    Value tensors(Operand... operands);

    Value number(double value);

    Value integer(long value);

    /** The script of an operation: resource {@code <operation>.py} beside the benchmarks, with the methods of {@code peer.py}. */
    default Script load(String operation) {
        return compile(resource(operation.toLowerCase(Locale.ROOT)) + resource("peer"));
    }

    private static String resource(String name) {
        String path = "/dev/gatun/benchmarks/" + name + ".py";
        try (InputStream in = Torch.class.getResourceAsStream(path)) {
            if (in == null) {
                throw new IllegalArgumentException("no script " + path);
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
