// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.data.View;
import dev.gatun.learning.Method;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.CrossEntropy;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Linear;

/** Cross-entropy with labels, averaged over the views: what the encoder reaches when it is told the answers. */
public final class Supervised implements Method {
    private Encoder encoder;
    private Layer head;
    private int classes;

    @Override
    public boolean usesLabels() {
        return true;
    }

    @Override
    public void build(MethodBuild build) {
        encoder = build.encoder();
        classes = build.classes();
        head = new Linear(build.parameters().sub("head"), encoder.features(), classes, true);
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        // a label of -1 is none: the sample has neither loss nor gradient
        Tensor labels = step.scope().ofInts(batch.labels());
        Tensor loss = null;
        for (View view : batch.views()) {
            Tensor logits = head.forward(step.pass(), encoder.forward(step.pass(), view.images()));
            Tensor term = CrossEntropy.apply(logits, labels);
            loss = loss == null ? term : loss.add(term);
        }
        step.log(Step.UNINFORMED_LOSS, Math.log(classes));
        return loss.mul(1f / batch.views().size());
    }
}
