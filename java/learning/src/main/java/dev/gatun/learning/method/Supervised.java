// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.learning.Classifier;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.CrossEntropy;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Linear;
import dev.gatun.tensor.layer.Pass;

/** Cross-entropy with labels, averaged over the views: what the encoder reaches when it is told the answers. */
public final class Supervised implements Classifier {
    private Encoder encoder;
    private Layer head;
    private int classes;

    @Override
    public void build(MethodBuild build) {
        encoder = build.encoder();
        classes = build.classes();
        head = new Linear(build.parameters().sub("head"), encoder.features(), classes, true);
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        Tensor logits = logits(step.pass(), MultiView.encode(encoder, batch, step.pass()));
        step.log(Step.UNINFORMED_LOSS, Math.log(classes));
        // a label of -1 is none: the sample has neither loss nor gradient
        return CrossEntropy.apply(logits, MultiView.repeat(batch::labels, batch, step.scope()));
    }

    @Override
    public Tensor logits(Pass pass, Tensor features) {
        return head.forward(pass, features);
    }
}
