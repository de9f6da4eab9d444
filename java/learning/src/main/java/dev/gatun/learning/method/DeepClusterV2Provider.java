// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.MethodEntry;
import dev.gatun.learning.pipeline.Ranges;
import java.util.List;

/** Offers {@link DeepClusterV2} as {@code deepcluster_v2}. */
public final class DeepClusterV2Provider extends MethodEntry<DeepClusterV2Provider.Settings> {
    /**
     * The {@code method} section.
     *
     * @param prototypes K of each clustering; each has a head of its own
     * @param hidden widths of the projection head's hidden layers, each with batch norm and ReLU
     * @param output D, the embedding's width
     * @param temperature of the predictions' softmax
     * @param iterations k-means', at the start of every epoch
     */
    public record Settings(
            List<Integer> prototypes,
            List<Integer> hidden,
            int output,
            float temperature,
            int iterations) {
        /** The paper's settings for ResNet-50. */
        public Settings() {
            this(List.of(3000, 3000, 3000), List.of(2048), 128, .1f, 10);
        }

        /** Checks the values. */
        public Settings {
            prototypes.forEach(k -> Ranges.atLeast("prototypes", k, 2));
            Ranges.atLeast("prototypes: clusterings", prototypes.size(), 1);
            Ranges.head(hidden, output);
            Ranges.above("temperature", temperature, 0);
            Ranges.atLeast("iterations", iterations, 1);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public DeepClusterV2Provider() {
        super(
                new About(
                        "deepcluster_v2",
                        "Caron, Misra, Mairal, Goyal, Bojanowski, Joulin: Unsupervised Learning of Visual Features by Contrasting "
                        + "Cluster Assignments, 2020, section 4 and appendix (DeepCluster-v2)",
                        "Caron et al., 2020",
                        "1 global view or more",
                        "fashion-mnist-deepcluster-v2.yaml",
                        ""),
                Settings.class,
                DeepClusterV2::new);
    }
}
