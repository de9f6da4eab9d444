// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.learning.Classifier;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.CrossEntropy;
import dev.gatun.tensor.function.Softmax;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Linear;
import dev.gatun.tensor.layer.Pass;

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
        Tensor labels = step.scope().ofInts(batch.labels());
        step.log("submodel_distance", a.sub(c).detach().square().mean().item());
        Tensor supervised = hard(a, labels).add(hard(c, labels));
        Tensor mutual = soft(a, c.detach()).add(soft(c, a.detach()));
        return supervised.mul((1 - settings.weight()) / 2).add(mutual.mul(settings.weight() / 2));
    }

    // cross-entropy with the labels
    private Tensor hard(Tensor logits, Tensor labels) {
        if (settings.loss().equals("softmax")) {
            return CrossEntropy.apply(logits, labels);
        }
        int[] classOf = labels.toIntArray();
        int[] sides = new int[classOf.length * classes];
        for (int i = 0; i < sides.length; i++) {
            int label = classOf[i / classes];
            sides[i] = label < 0 ? -1 : label == i % classes ? 0 : 1;
        }
        return CrossEntropy.apply(sides(logits), logits.scope().ofInts(sides));
    }

    // cross-entropy with what the other submodel predicts
    private Tensor soft(Tensor logits, Tensor other) {
        return settings.loss().equals("softmax")
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
