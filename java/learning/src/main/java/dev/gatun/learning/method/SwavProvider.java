// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.MethodEntry;
import dev.gatun.learning.pipeline.Ranges;
import java.util.List;

/** Offers {@link Swav} as {@code swav}. */
public final class SwavProvider extends MethodEntry<SwavProvider.Settings> {
    /**
     * The {@code method} section.
     *
     * @param prototypes K
     * @param hidden widths of the projection head's hidden layers, each with batch norm and ReLU
     * @param output D, the embedding's width
     * @param temperature of the predictions' softmax
     * @param epsilon entropic regularisation of the codes
     * @param iterations Sinkhorn-Knopp's
     * @param freezeEpochs the prototypes' gradient is discarded for so many epochs
     * @param freezeSteps and for so many steps
     * @param queue embeddings kept per assigned view, rounded down to a multiple of the batch; 0 = none
     * @param queueStartEpoch epoch, from 0, in which the queue starts to fill
     */
    public record Settings(
            int prototypes,
            List<Integer> hidden,
            int output,
            float temperature,
            float epsilon,
            int iterations,
            int freezeEpochs,
            int freezeSteps,
            int queue,
            int queueStartEpoch) {
        /** The paper's settings for ResNet-50. */
        public Settings() {
            this(3000, List.of(2048), 128, .1f, .05f, 3, 1, 0, 0, 15);
        }

        /** Checks the values. */
        public Settings {
            Ranges.atLeast("prototypes", prototypes, 2);
            Ranges.head(hidden, output);
            Ranges.above("temperature", temperature, 0);
            Ranges.above("epsilon", epsilon, 0);
            Ranges.atLeast("iterations", iterations, 1);
            Ranges.atLeast("freeze_epochs", freezeEpochs, 0);
            Ranges.atLeast("freeze_steps", freezeSteps, 0);
            Ranges.atLeast("queue", queue, 0);
            Ranges.atLeast("queue_start_epoch", queueStartEpoch, 0);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public SwavProvider() {
        super(
                new About(
                        "swav",
                        "Caron, Misra, Mairal, Goyal, Bojanowski, Joulin: Unsupervised Learning of Visual Features by Contrasting "
                        + "Cluster Assignments, 2020",
                        "Caron et al., 2020",
                        "2 views or more, one global",
                        "fashion-mnist-swav.yaml",
                        "a smaller epsilon, a longer prototype freeze or softer views"),
                Settings.class,
                Swav::new);
    }
}
