// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.learning.Epoch;
import dev.gatun.learning.Method;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.learning.evaluation.Pca;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Kmeans.Empty;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.Activation;
import dev.gatun.tensor.function.CrossEntropy;
import dev.gatun.tensor.function.GatherRows;
import dev.gatun.tensor.function.Kmeans;
import dev.gatun.tensor.function.L2Normalize;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Linear;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.State;
import dev.gatun.tensor.optimizer.Schedule;
import dev.gatun.tensor.optimizer.Sgd;
import java.util.Optional;

/**
 * DeepCluster: before every epoch the features of all images are whitened and clustered by k-means, the clusters become the
 * labels of the epoch, and the head is made anew. Every cluster is drawn equally often. Caron et al., 2018, section 3.
 */
public final class DeepCluster implements Method {
    private static final Initializer WEIGHTS = Initializer.normal(.01f);

    private final DeepClusterProvider.Settings settings;
    private Encoder encoder;
    private Linear hidden;
    private Parameter weight;
    private Parameter bias;
    private State clusters;
    private State used;
    /** What {@link #used} holds; a step does not read it back. */
    private int count;

    /** @param settings its settings */
    public DeepCluster(DeepClusterProvider.Settings settings) {
        this.settings = settings;
    }

    @Override
    public void build(MethodBuild build) {
        if (settings.clusters() > build.samples()) {
            throw new IllegalArgumentException("clusters: " + settings.clusters() + " for " + build.samples() + " samples");
        }
        encoder = build.encoder();
        hidden = new Linear(build.parameters().sub("hidden"), encoder.features(), settings.hidden(), true);
        Parameters head = build.parameters().apart("head");
        weight = head.parameter("weight", WEIGHTS, settings.clusters(), settings.hidden());
        bias = head.parameter("bias", Initializer.zeros(), settings.clusters());
        // its own optimizer, without momentum: that would be the momentum of the last epoch's head
        build.optimizer(
                head, store -> new Sgd(store, 0, false, settings.headDecay(), p -> true), Schedule.constant(settings.headLr()));
        clusters = build.parameters().state("clusters", DType.I32, build.samples());
        used = build.parameters().state("used", DType.I32, 1);
    }

    // the features are what comes before the last ReLU
    private Tensor features(Pass pass, Tensor images) {
        return hidden.forward(pass, encoder.forward(pass, images));
    }

    @Override
    public void beforeEpoch(Epoch epoch) {
        Scope scope = epoch.scope();
        Tensor x = L2Normalize.apply(Pca.whiten(epoch.features(this::features), settings.components()));
        Tensor centroids = GatherRows.apply(x, DeepClusterV2.some(x, settings.clusters(), epoch.nextKey()));
        Kmeans.fit(x, centroids, settings.iterations(), false, Empty.SPLIT);
        int[] before = epoch.index() == 0 ? new int[0] : clusters.value().toIntArray();
        int[] now = Kmeans.assign(x, centroids, false).toIntArray();
        count = ClusterOrder.renumber(now);
        epoch.clustered(now, before);
        clusters.value().copyFrom(scope.ofInts(now));
        used.value().copyFrom(scope.ofInts(new int[] {count}));
        WEIGHTS.fill(weight.value(), epoch.nextKey());
        bias.value().zero();
    }

    @Override
    public Optional<int[]> order(int epoch, RandomKey key) {
        return Optional.of(ClusterOrder.balanced(clusters.value().toIntArray(), count, key));
    }

    @Override
    public void restored() {
        count = used.value().toIntArray()[0];
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        int count = step.decide(() -> this.count);
        Tensor w = step.pass().use(weight).slice(0, 0, count);
        Tensor b = step.pass().use(bias).slice(0, 0, count);
        Tensor features = hidden.forward(step.pass(), MultiView.encode(encoder, batch, step.pass()));
        step.log(Step.UNINFORMED_LOSS, Math.log(count));
        return CrossEntropy.apply(
                Activation.relu(features).linear(w, b), MultiView.gather(clusters, batch, step.scope()));
    }
}
