// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameters;
import java.util.stream.IntStream;

/**
 * SimCLR: views of the same image attract, all other images of the batch repel. Chen et al., 2020, algorithm 1; the loss is, as
 * in the authors' code, the sum over the views of each one's mean.
 */
public final class SimClr extends Contrastive {
    private final SimClrProvider.Settings settings;

    /** @param settings its settings */
    public SimClr(SimClrProvider.Settings settings) {
        super(settings.temperature());
        this.settings = settings;
    }

    @Override
    Layer head(Parameters parameters, int features) {
        return settings.outputNorm()
                ? Heads.normalisedProjection(parameters, features, settings.hidden(), settings.output())
                : Heads.projection(parameters, features, settings.hidden(), settings.output());
    }

    @Override
    int[] groups(Batch batch) {
        return IntStream.range(0, batch.size()).toArray();
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        int views = batch.views().size();
        step.log(Step.UNINFORMED_LOSS, views * Math.log((double) views * batch.size() - 1));
        return super.loss(batch, step).mul(views);
    }
}
