// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.data.Shuffle;
import dev.gatun.learning.Epoch;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.PrototypeMethod;
import dev.gatun.learning.Step;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Kmeans.Empty;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.CrossEntropy;
import dev.gatun.tensor.function.GatherRows;
import dev.gatun.tensor.function.Kmeans;
import dev.gatun.tensor.function.L2Normalize;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.State;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * DeepCluster-v2: before every epoch spherical k-means clusters the embeddings that the epoch before left in memory; all views
 * of an image then predict its cluster, against the centroids as a head that is never trained. Caron et al., 2020, section 4.
 */
public final class DeepClusterV2 implements PrototypeMethod {
    private final DeepClusterV2Provider.Settings settings;
    private Encoder encoder;
    private Layer head;
    private List<Integer> remembered;
    private List<State> banks;
    private final List<State> prototypes = new ArrayList<>();
    private final List<State> clusters = new ArrayList<>();

    /** @param settings its settings */
    public DeepClusterV2(DeepClusterV2Provider.Settings settings) {
        this.settings = settings;
    }

    @Override
    public void build(MethodBuild build) {
        encoder = build.encoder();
        Parameters parameters = build.parameters();
        head = Heads.projection(parameters.sub("head"), encoder.features(), settings.hidden(), settings.output());
        remembered = build.globalViews();
        if (remembered.isEmpty()) {
            throw new IllegalArgumentException("deepcluster_v2 needs a global view; views has " + build.views());
        }
        banks = remembered.stream()
                .map(v -> parameters.state("bank." + v, 0f, build.samples(), settings.output()))
                .toList();
        for (int k : settings.prototypes()) {
            if (k > build.samples()) {
                throw new IllegalArgumentException("prototypes: " + k + " for " + build.samples() + " samples");
            }
            prototypes.add(parameters.state("prototypes." + prototypes.size(), 0f, k, settings.output()));
            clusters.add(parameters.state("clusters." + clusters.size(), DType.I32, build.samples()));
        }
    }

    @Override
    public void beforeEpoch(Epoch epoch) {
        if (epoch.index() == 0) {
            for (int i = 0; i < banks.size(); i++) {
                banks.get(i).value().copyFrom(epoch.viewFeatures(
                        (pass, images) -> embed(pass, encoder.forward(pass, images)), remembered.get(i)));
            }
        }
        for (int h = 0; h < prototypes.size(); h++) {
            int[] before = epoch.index() == 0 ? new int[0] : clusters.get(h).value().toIntArray();
            Tensor rows = epoch.scope().attach(banks.get(h % banks.size()).value());
            Tensor centroids = prototypes.get(h).value();
            centroids.copyFrom(GatherRows.apply(rows, some(rows, (int) centroids.size(0), epoch.nextKey())));
            Kmeans.fit(rows, centroids, settings.iterations(), true, Empty.KEEP);
            clusters.get(h).value().copyFrom(Kmeans.assign(rows, centroids, true));
            if (h == 0) {
                epoch.clustered(clusters.get(h).value().toIntArray(), before);
            }
        }
    }

    /** Random rows to start k-means with. */
    static Tensor some(Tensor rows, int count, RandomKey key) {
        int[] order = Shuffle.permutation(key.seed(), key.step(), key.stream(), (int) rows.size(0));
        return rows.scope().ofInts(Arrays.copyOf(order, count));
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        Tensor z = embed(step.pass(), MultiView.encode(encoder, batch, step.pass()));
        int b = batch.size();
        Tensor loss = null;
        double uninformed = 0;
        for (int h = 0; h < prototypes.size(); h++) {
            Tensor scores = z.matmulTransposed(step.scope().attach(prototypes.get(h).value()));
            Tensor targets = MultiView.gather(clusters.get(h), batch, step.scope());
            Tensor term = CrossEntropy.apply(scores, targets, settings.temperature());
            loss = loss == null ? term : loss.add(term);
            uninformed += Math.log(settings.prototypes().get(h)) / prototypes.size();
        }
        for (int i = 0; i < banks.size(); i++) {
            remember(banks.get(i).value(), batch, z.detach().slice(0, (long) remembered.get(i) * b, (remembered.get(i) + 1L) * b));
        }
        step.log(Step.SPREAD, Spread.of(z.detach()));
        step.log(Step.UNINFORMED_LOSS, uninformed);
        return loss.mul(1f / prototypes.size());
    }

    private static void remember(Tensor bank, Batch batch, Tensor rows) {
        int[] ids = MultiView.indices(batch);
        IntStream.range(0, ids.length).forEach(i -> bank.slice(0, ids[i], ids[i] + 1L).copyFrom(rows.slice(0, i, i + 1L)));
    }

    @Override
    public Tensor prototypes(Scope scope) {
        return scope.attach(prototypes.getFirst().value());
    }

    @Override
    public Tensor embed(Pass pass, Tensor features) {
        return L2Normalize.apply(head.forward(pass, features));
    }
}
