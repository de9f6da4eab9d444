// SPDX-License-Identifier: Apache-2.0
import dev.gatun.data.Batch;
import dev.gatun.learning.*;
import dev.gatun.learning.method.*;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Kmeans.Empty;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.*;
import dev.gatun.tensor.layer.*;
import dev.gatun.tensor.layer.L2Normalize;
import dev.gatun.tensor.optimizer.Ema;
import java.util.List;

/** A made-up method: a teacher, the moving average of the student, clusters all images; the student predicts the clusters. */
public class MyTeacher implements Method {
    private static final int CLUSTERS = 100, WIDTH = 64;
    private Layer student, teacher;
    private State centroids, clusters;
    private Ema ema;

    public void build(MethodBuild build) {
        Parameters trained = build.parameters(), average = trained.apart("teacher"); // saved, not trained, equal at first
        student = network(build.encoder(), trained);
        teacher = network(build.encoders().apply(average), average);
        ema = new Ema(average, trained);
        centroids = trained.state("centroids", 0f, CLUSTERS, WIDTH);
        clusters = trained.state("clusters", DType.I32, build.samples());
    }

    private static Layer network(Encoder encoder, Parameters parameters) {
        Layer head = Heads.projection(parameters.sub("head"), encoder.features(), List.of(256), WIDTH);
        return new Sequential(encoder, head, new L2Normalize());
    }

    @Override
    public void beforeEpoch(Epoch epoch) {
        Tensor all = epoch.viewFeatures(teacher, 0); // (images, WIDTH)
        int[] before = epoch.index() == 0 ? new int[0] : clusters.value().toIntArray();
        if (epoch.index() == 0) {
            centroids.value().copyFrom(all.slice(0, 0, CLUSTERS)); // go on from the last ones later
        }
        Kmeans.fit(all, centroids.value(), 10, true, Empty.SPLIT);
        clusters.value().copyFrom(Kmeans.assign(all, centroids.value(), true));
        epoch.clustered(clusters.value().toIntArray(), before);
    }

    public Tensor loss(Batch batch, Step step) {
        Tensor z = MultiView.encode(student, batch, step.pass()); // all views, one after the other
        step.log(Step.SPREAD, Spread.of(z.detach()));
        Tensor scores = z.matmulTransposed(step.pass().use(centroids));
        return CrossEntropy.apply(scores, MultiView.gather(clusters, batch, step.scope()), .1f);
    }

    @Override
    public void afterUpdate(Step step) {
        ema.update(.99f);
    }
}
