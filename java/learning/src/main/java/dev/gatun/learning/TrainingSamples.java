// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Dataset;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Pass;
import java.util.stream.IntStream;

/** All training samples of an experiment, in batches of the training's size. */
final class TrainingSamples implements Epoch.Samples {
    private final Experiment experiment;
    private final ProgressListener listener;

    /**
     * @param listener hears how many samples are done
     */
    TrainingSamples(Experiment experiment, ProgressListener listener) {
        this.experiment = experiment;
        this.listener = listener;
    }

    @Override
    public int size() {
        return data().size();
    }

    @Override
    public int[] labels() {
        return data().labels(IntStream.range(0, size()).toArray());
    }

    @Override
    public Tensor features(Scope scope, Layer network, int view, RandomKey key) {
        int batch = experiment.pipeline().batch().batch();
        listener.phase("embedding the training images", size());
        Tensor all = null;
        for (int from = 0, to; from < size(); from = to) {
            // one sample alone has no batch statistics: it joins the batch before
            to = from + batch >= size() - 1 ? size() : from + batch;
            try (Scope inner = scope.open()) {
                Tensor part = features(inner, network, IntStream.range(from, to).toArray(), view, key);
                if (all == null) {
                    all = scope.empty(size(), part.size(1));
                }
                all.slice(0, from, to).copyFrom(part);
            }
            listener.advanced(to);
        }
        listener.phase("training", experiment.steps());
        return all;
    }

    private Tensor features(Scope inner, Layer network, int[] ids, int view, RandomKey key) {
        if (view < 0) {
            return network.forward(inPrecision(Pass.inference(inner)), experiment.views().plain(inner, data(), ids));
        }
        Pass pass = inPrecision(Pass.trainingWithoutGradient(inner, key.child(ids[0])))
                .withSamples(IntStream.of(ids).asLongStream().toArray());
        return network.forward(pass, experiment.views().make(inner, data(), ids, key).views().get(view).images());
    }

    private Pass inPrecision(Pass pass) {
        return pass.withPrecision(experiment.pipeline().computesIn());
    }

    private Dataset data() {
        return experiment.data().pretrain();
    }
}
