// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.profile;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.primitives.CallTrace;
import dev.gatun.primitives.CallTrace.Argument;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The least work of a call, counted by hand. */
class WorkTest {
    private static CallTrace call(String operation, Map<String, Number> constants, Object... namesAndShapes) {
        List<Argument> arguments = new ArrayList<>();
        for (int i = 0; i < namesAndShapes.length; i += 2) {
            arguments.add(new Argument((String) namesAndShapes[i], Layout.of(DType.F32, (long[]) namesAndShapes[i + 1]), false));
        }
        return new CallTrace(operation, "", arguments, constants, 0, 0, 1);
    }

    private static long[] shape(long... extents) {
        return extents;
    }

    private static double flops(String operation, Object... namesAndShapes) {
        return Work.of(call(operation, Map.of(), namesAndShapes)).flops();
    }

    @Test
    void everyOperandIsMovedOnceAndBroadcastOnesOnce() {
        assertEquals(4 * (6 + 6), Work.of(call("l2_normalize_forward", Map.of(), "x", shape(2, 3), "y", shape(2, 3))).bytes());
        CallTrace broadcast = new CallTrace(
                "elementwise", "copy", List.of(new Argument("x", Layout.strided(DType.F32, new long[] {5, 3}, new long[] {0, 1}), false)),
                Map.of(), 0, 0, 1);
        assertEquals(12, Work.of(broadcast).bytes());
        assertEquals(200, Work.of(new CallTrace("memory_copy", "", List.of(), Map.of(), 100, 0, 1)).bytes());
    }

    @Test
    void products() {
        assertEquals(2 * 3 * 4 * 5, flops("matmul", "a", shape(3, 4), "b", shape(4, 5), "c", shape(3, 5)));
        assertEquals(2 * 3 * 4 * 5, flops("gemm", "a", shape(3, 4), "b", shape(4, 5), "c", shape(3, 5)));
        assertEquals(
                2 * 2 * 6 * 4 * 5, flops("linear_cross_entropy", "z", shape(6, 4), "prototypes", shape(5, 4), "dz", shape(6, 4)));
        assertEquals(2 * 3 * 5 * 4, flops("kmeans_assign", "rows", shape(3, 4), "centroids", shape(5, 4)));
        assertEquals(2 * 3 * 5 * 4, flops("info_nce_forward", "q", shape(3, 4), "k", shape(5, 4)));
        assertEquals(6 * 3 * 3 * 4, flops("info_nce_backward", "q", shape(3, 4)));
        assertEquals(4 * 3 * 5 * 4, flops("info_nce_backward", "q", shape(3, 4), "k", shape(5, 4)));
        Object[] rows = {"features", shape(3, 4), "prototypes", shape(5, 4)};
        assertEquals(2 * 7 * 2 * 3 * 5 * 4, Work.of(call("sinkhorn_streaming", Map.of("iterations", 7), rows)).flops());
        assertEquals(2 * 3 * 5 * 4, flops("sinkhorn_streaming_codes", rows));
        assertEquals(0, flops("layer_norm_forward", "x", shape(3, 4)));
    }

    @Test
    void convolutions() {
        // 2 images, 4 x 4 outputs, 6 channels from 3 x 3 x 5
        double expected = 2.0 * 2 * 4 * 4 * 6 * 3 * 3 * 5;
        assertEquals(expected, flops("convolution_forward", "x", shape(2, 4, 4, 5), "weights", shape(6, 3, 3, 5), "y", shape(2, 4, 4, 6)));
        assertEquals(expected, flops("convolution_backward_data", "dy", shape(2, 4, 4, 6), "weights", shape(6, 3, 3, 5), "dx", shape(2, 4, 4, 5)));
        assertEquals(expected, flops("convolution_backward_weights", "x", shape(2, 4, 4, 5), "dy", shape(2, 4, 4, 6), "dweights", shape(6, 3, 3, 5)));
    }

    @Test
    void attention() {
        Object[] operands = {"q", shape(2, 3, 4, 8), "k", shape(2, 5, 4, 8)};
        assertEquals(4.0 * 2 * 4 * 8 * 3 * 5, flops("attention_forward", operands));
        assertEquals(10.0 * 2 * 4 * 8 * 3 * 5, flops("attention_backward", operands));
        // queries see 3, 4 and 5 keys
        assertEquals(4.0 * 2 * 4 * 8 * 12, Work.of(call("attention_forward", Map.of("causal", 1), operands)).flops());
        assertEquals(0, flops("attention_forward", "q", shape(30, 4, 8), "k", shape(30, 4, 8)));
    }
}
