// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.Method;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.pipeline.Ranges;
import java.util.List;

/** Offers {@link DeepClusterV2} as {@code deepcluster_v2}. */
public final class DeepClusterV2Provider implements MethodProvider {
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
            hidden.forEach(width -> Ranges.atLeast("hidden", width, 1));
            Ranges.atLeast("output", output, 1);
            Ranges.above("temperature", temperature, 0);
            Ranges.atLeast("iterations", iterations, 1);
        }
    }

    @Override
    public String name() {
        return "deepcluster_v2";
    }

    @Override
    public String paper() {
        return "Caron, Misra, Mairal, Goyal, Bojanowski, Joulin: Unsupervised Learning of Visual Features by Contrasting "
                + "Cluster Assignments, 2020, section 4 and appendix (DeepCluster-v2)";
    }

    @Override
    public String citation() {
        return "Caron et al., 2020";
    }

    @Override
    public String needs() {
        return "1 global view or more";
    }

    @Override
    public String config() {
        return "fashion-mnist-deepcluster-v2.yaml";
    }

    @Override
    public String advice() {
        return "";
    }

    @Override
    public Class<? extends Record> settings() {
        return Settings.class;
    }

    @Override
    public Method create(Record settings) {
        return new DeepClusterV2((Settings) settings);
    }
}
