// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.suite;

import java.util.Map;

/** What the names of an operation's rows say. */
final class Legend {
    private static final String ROWS = "rows x columns";

    private static final Map<String, String> LEGENDS = Map.ofEntries(
            Map.entry("activation", ROWS + "; ReLU's and GELU's gradients are passes of their own"),
            Map.entry("attention", "batch x heads x tokens x width of a head; c: causal"),
            Map.entry("augmentation",
                    "views x height x width of the stored image x channels x side of the view; the protocol is that of SwAV and"
                            + " BYOL. PyTorch has no such operation"),
            Map.entry("basic_block", "images x height x width x channels: ResNet's block of two 3x3 convolutions, forward and backward"),
            Map.entry("batch_norm", "images x height x width x channels, with a ReLU"),
            Map.entry("convolution",
                    "images x side x channels x outputs x kernel x stride x padding x groups; backward gives all gradients, but"
                            + " none of a first layer's images"),
            Map.entry("cross_entropy", ROWS + ", soft targets, with a temperature"),
            Map.entry("elementwise", "tokens x channels"),
            Map.entry("gather_rows", "rows x columns of what is picked"),
            Map.entry("gemm", "rows of the result x its columns x length of the sums; the gradients of both operands behind it"),
            Map.entry("group_norm", "images x positions x channels, in 32 groups"),
            Map.entry("info_nce", "rows x columns of the features"),
            Map.entry("kmeans", "rows x centroids x dimensions: the nearest centroid of each row, and the sums of each centroid's rows"),
            Map.entry("l2_normalize", ROWS),
            Map.entry("layer_norm", "tokens x channels"),
            Map.entry("linear_cross_entropy",
                    "rows x prototypes x dimensions: a swapped prediction's loss from features and prototypes, with both gradients; fused, or in parts that write the scores"),
            Map.entry("optimizer", "parameters x tensors. PyTorch has no LARS"),
            Map.entry("pooling", "images x side x channels x window x stride x padding"),
            Map.entry("random", "how many numbers; two generators' numbers cannot agree, so nothing is compared but the time"),
            Map.entry("reduction", ROWS + "; sums of each row, of each column, of everything"),
            Map.entry("sinkhorn",
                    "samples x prototypes, 3 iterations: the codes of scores; with the product that makes the scores; streaming, which computes them again in every"
                            + " sweep instead of keeping them"),
            Map.entry("softmax", ROWS),
            Map.entry("step", "[docs/steps.md](steps.md) has what is in them"),
            Map.entry("stochastic_depth", "samples x tokens x channels: a residual that some samples drop, the mask given, with LayerScale"),
            Map.entry("vit_block", "sequences x tokens: a block of ViT-Ti, forward and backward"));

    private Legend() {}

    /** A line for the page; an operation without one is an error, since nobody could read its rows. */
    static String of(String operation) {
        String legend = LEGENDS.get(operation);
        if (legend == null) {
            throw new IllegalArgumentException("no legend of the rows of " + operation);
        }
        return "Rows: " + legend + ".";
    }
}
