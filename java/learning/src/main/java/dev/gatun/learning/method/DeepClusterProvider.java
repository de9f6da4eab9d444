// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.MethodEntry;
import dev.gatun.learning.pipeline.Ranges;

/** Offers {@link DeepCluster} as {@code deepcluster}. */
public final class DeepClusterProvider extends MethodEntry<DeepClusterProvider.Settings> {
    /**
     * The {@code method} section.
     *
     * @param clusters K
     * @param hidden width of the layer between encoder and head; its output before the ReLU is what is clustered
     * @param components principal components that are kept and whitened before clustering
     * @param iterations k-means', at the start of every epoch
     * @param headLr the head's constant learning rate; plain SGD without momentum trains it
     * @param headDecay the head's weight decay
     */
    public record Settings(
            int clusters,
            int hidden,
            int components,
            int iterations,
            float headLr,
            float headDecay) {
        /** The paper's settings for AlexNet. */
        public Settings() {
            this(10_000, 4096, 256, 20, .05f, 1e-5f);
        }

        /** Checks the values. */
        public Settings {
            Ranges.atLeast("clusters", clusters, 2);
            Ranges.atLeast("hidden", hidden, 1);
            Ranges.within("components", components, 1, hidden);
            Ranges.atLeast("iterations", iterations, 1);
            Ranges.above("head_lr", headLr, 0);
            Ranges.atLeast("head_decay", headDecay, 0);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public DeepClusterProvider() {
        super(
                new About(
                        "deepcluster",
                        "Caron, Bojanowski, Joulin, Douze: Deep Clustering for Unsupervised Learning of Visual Features, 2018",
                        "Caron et al., 2018",
                        "1 view or more",
                        "fashion-mnist-deepcluster.yaml",
                        ""),
                Settings.class,
                DeepCluster::new);
    }
}
