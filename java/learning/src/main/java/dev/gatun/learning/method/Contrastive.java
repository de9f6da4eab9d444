// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.learning.Method;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.InfoNce;
import dev.gatun.tensor.function.L2Normalize;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;

/** What contrastive methods share: all views of a batch attract or repel each other, by groups that the method names. */
abstract class Contrastive implements Method {
    private final float temperature;
    private Encoder encoder;
    private Layer head;

    Contrastive(float temperature) {
        this.temperature = temperature;
    }

    /** The projection head. */
    abstract Layer head(Parameters parameters, int features);

    /** One group a sample: views of equal groups attract; below 0 = the sample's views attract nothing. */
    abstract int[] groups(Batch batch);

    @Override
    public void build(MethodBuild build) {
        if (build.views().size() < 2) {
            throw new IllegalArgumentException("needs two views or more; views has " + build.views());
        }
        encoder = build.encoder();
        head = head(build.parameters().sub("head"), encoder.features());
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        Pass pass = step.pass();
        Tensor z = L2Normalize.apply(head.forward(pass, MultiView.encode(encoder, batch, pass)));
        step.log(Step.SPREAD, Spread.of(z.detach()));
        return InfoNce.apply(z, MultiView.repeat(() -> groups(batch), batch, step.scope()), temperature);
    }
}
