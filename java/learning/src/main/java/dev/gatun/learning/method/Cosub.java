// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.learning.Classifier;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.CrossEntropy;
import dev.gatun.tensor.function.Softmax;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Linear;
import dev.gatun.tensor.layer.Pass;
import java.lang.foreign.ValueLayout;

/**
 * cosub: the batch is doubled, and stochastic depth makes two submodels of the network, which learn from the labels and from each
 * other. Touvron et al., 2022, section 3. Needs a model with {@code drop_path} above 0: without, the submodels are equal.
 */
public final class Cosub implements Classifier {
    private final CosubProvider.Settings settings;
    private Encoder encoder;
    private Layer head;
    private int classes;

    /** @param settings its settings */
    public Cosub(CosubProvider.Settings settings) {
        this.settings = settings;
    }

    @Override
    public void build(MethodBuild build) {
        encoder = build.encoder();
        classes = build.classes();
        if (build.views().size() > 1) {
            build.warnings().accept("cosub learns from the first of a sample's " + build.views().size() + " views only");
        }
        head = new Linear(build.parameters().sub("head"), encoder.features(), classes, true);
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        Tensor images = batch.views().getFirst().images();
        long b = images.size(0);
        Tensor both = logits(step.pass(), encoder.forward(step.pass(), Tensor.concat(0, images, images)));
        Tensor a = both.slice(0, 0, b);
        Tensor c = both.slice(0, b, 2 * b);
        step.log("submodel_distance", a.sub(c).detach().square().mean());
        Tensor labels = labels(batch, step.scope());
        Tensor supervised = hard(a, labels).add(hard(c, labels));
        Tensor mutual = soft(a, c.detach()).add(soft(c, a.detach()));
        return supervised.mul((1 - settings.weight()) / 2).add(mutual.mul(settings.weight() / 2));
    }

    private boolean softmax() {
        return settings.loss().equals("softmax");
    }

    // a label a sample; for sigmoids, of each sample and class the side: 0 for yes, 1 for no
    private Tensor labels(Batch batch, Scope scope) {
        int k = softmax() ? 1 : classes;
        return scope.fromHost(DType.I32, target -> {
            int[] labels = batch.labels();
            for (int i = 0; i < labels.length * k; i++) {
                int label = labels[i / k];
                target.setAtIndex(ValueLayout.JAVA_INT, i, label < 0 || softmax() ? label : label == i % k ? 0 : 1);
            }
        }, (long) batch.size() * k);
    }

    // cross-entropy with the labels
    private Tensor hard(Tensor logits, Tensor labels) {
        return CrossEntropy.apply(softmax() ? logits : sides(logits), labels);
    }

    // cross-entropy with what the other submodel predicts
    private Tensor soft(Tensor logits, Tensor other) {
        return softmax()
                ? CrossEntropy.apply(logits, Softmax.apply(other))
                : CrossEntropy.apply(sides(logits), Softmax.apply(sides(other)));
    }

    // a sigmoid is a softmax over (x, 0): (B, K) becomes (B K, 2), yes and no for each class
    private static Tensor sides(Tensor logits) {
        Tensor yes = logits.reshape(logits.elements(), 1);
        return Tensor.concat(1, yes, logits.scope().zeros(logits.elements(), 1));
    }

    @Override
    public Tensor logits(Pass pass, Tensor features) {
        return head.forward(pass, features);
    }
}
