// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.profile;

import dev.gatun.primitives.CallTrace;
import dev.gatun.primitives.CallTrace.Argument;
import dev.gatun.primitives.Layout;
import java.util.Optional;

/**
 * What a call had to do at least.
 *
 * @param flops multiplications and additions; 0 where its work is not of that kind, or depends on values
 * @param bytes of its operands, each counted once
 */
record Work(double flops, double bytes) {
    static final Work NONE = new Work(0, 0);

    static Work of(CallTrace call) {
        double bytes = call.arguments().isEmpty() ? copied(call) : 0;
        for (Argument argument : call.arguments()) {
            bytes += elements(argument.layout()) * argument.layout().dtype().bytes();
        }
        return new Work(flops(call), bytes);
    }

    private static double copied(CallTrace call) {
        return switch (call.operation()) {
            case "memory_copy" -> 2.0 * call.bytes();
            case "memory_clear" -> call.bytes();
            default -> 0;
        };
    }

    /** Elements that lie in memory: what is broadcast lies there once. */
    private static double elements(Layout layout) {
        double count = 1;
        for (int i = 0; i < layout.rank(); i++) {
            count *= layout.stride(i) == 0 && layout.size(i) > 0 ? 1 : layout.size(i);
        }
        return count;
    }

    private static double flops(CallTrace call) {
        return switch (call.operation()) {
            case "gemm", "matmul" -> 2 * product(call, "a") * size(call, "b", 1);
            case "convolution_forward" -> convolution(call, "y", "weights");
            case "convolution_backward_data" -> convolution(call, "dy", "weights");
            case "convolution_backward_weights" -> convolution(call, "dy", "dweights");
            case "attention_forward" -> 4 * attention(call);
            // scores again, then the gradients of weights, v, q and k
            case "attention_backward" -> 10 * attention(call);
            case "info_nce_forward" -> 2 * product(call, "q") * rows(call, "k", "q");
            // scores again, and one product for each gradient
            case "info_nce_backward" -> (argument(call, "dk").isPresent() || argument(call, "k").isEmpty() ? 6 : 4) * product(call, "q") * rows(call, "k", "q");
            // scores unless they are given, and one product for each gradient
            case "linear_cross_entropy" -> 2 * product(call, "z") * rows(call, "prototypes", "prototypes")
                    * ((argument(call, "scores").isPresent() ? 0 : 1) + (argument(call, "dz").isPresent() ? 1 : 0) + (argument(call, "dprototypes").isPresent() ? 1 : 0));
            case "kmeans_assign" -> 2 * product(call, "rows") * rows(call, "centroids", "centroids");
            // the scores for the sums over samples, and again for those over prototypes
            case "sinkhorn_streaming" -> 2 * 2 * product(call, "features") * rows(call, "prototypes", "prototypes") * call.constants().get("iterations").intValue();
            case "sinkhorn_streaming_codes" -> 2 * product(call, "features") * rows(call, "prototypes", "prototypes");
            default -> 0;
        };
    }

    private static double convolution(CallTrace call, String output, String weights) {
        Optional<Argument> kernel = argument(call, weights);
        return kernel.isEmpty() || kernel.get().layout().size(0) == 0 ? 0
                : 2 * product(call, output) * product(call, weights) / kernel.get().layout().size(0);
    }

    /** Products of a query and a key that are looked at, times the depth; 0 in the ragged form, where the offsets' values decide. */
    private static double attention(CallTrace call) {
        Optional<Argument> q = argument(call, "q");
        Optional<Argument> k = argument(call, "k");
        if (q.isEmpty() || k.isEmpty() || q.get().layout().rank() != 4) {
            return 0;
        }
        Layout queries = q.get().layout();
        long n = queries.size(1);
        long keys = k.get().layout().size(1);
        double pairs = (double) n * keys;
        if (call.constants().getOrDefault("causal", 0).intValue() != 0) {
            pairs = 0;
            for (long i = 0; i < n; i++) {
                pairs += Math.clamp(i + 1 + keys - n, 0, keys);
            }
        }
        return pairs * queries.size(0) * queries.size(2) * queries.size(3);
    }

    private static Optional<Argument> argument(CallTrace call, String name) {
        return call.arguments().stream().filter(a -> a.name().equals(name)).findFirst();
    }

    private static double product(CallTrace call, String name) {
        return argument(call, name).map(a -> {
            double count = 1;
            for (int i = 0; i < a.layout().rank(); i++) {
                count *= a.layout().size(i);
            }
            return count;
        }).orElse(0.0);
    }

    private static double size(CallTrace call, String name, int dimension) {
        return argument(call, name).map(a -> (double) a.layout().size(dimension)).orElse(0.0);
    }

    private static double rows(CallTrace call, String name, String otherwise) {
        return size(call, argument(call, name).isPresent() ? name : otherwise, 0);
    }
}
