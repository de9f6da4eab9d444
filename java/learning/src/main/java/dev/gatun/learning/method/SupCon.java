// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameters;

/**
 * Supervised contrastive learning: views of all images of a class attract, those of other classes repel. Khosla et al., 2020,
 * equation 2 (the mean over positives outside the logarithm). Without equal labels in a batch it is half of SimCLR's loss.
 */
public final class SupCon extends Contrastive {
    private final SupConProvider.Settings settings;

    /** @param settings its settings */
    public SupCon(SupConProvider.Settings settings) {
        super(settings.temperature());
        this.settings = settings;
    }

    @Override
    public boolean usesLabels() {
        return true;
    }

    @Override
    Layer head(Parameters parameters, int features) {
        return Heads.perceptron(parameters, features, settings.hidden(), settings.output());
    }

    @Override
    int[] groups(Batch batch) {
        return batch.labels();
    }
}
