// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import dev.gatun.data.Batch;
import dev.gatun.data.Dataset;
import dev.gatun.data.Subset;
import dev.gatun.data.View;
import dev.gatun.learning.Experiment;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.PrototypeMethod;
import dev.gatun.learning.evaluation.Classification;
import dev.gatun.learning.evaluation.Evaluation;
import dev.gatun.learning.evaluation.Features;
import dev.gatun.learning.evaluation.Neighbours;
import dev.gatun.learning.evaluation.Pca;
import dev.gatun.learning.report.ReportData.Mark;
import dev.gatun.learning.report.ReportData.Picture;
import dev.gatun.learning.report.ReportData.Point;
import dev.gatun.learning.report.ReportData.Predictions;
import dev.gatun.learning.report.ReportData.Row;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Pass;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;

/** Asks a trained experiment for what its report shows. */
final class ReportCollector {
    private static final int POINTS = 2000;
    private static final int BANK = 10_000;
    private static final int SAMPLES = 6;
    private static final int QUERIES = 10;
    private static final int SHOWN_PROTOTYPES = 16;
    private static final int NEAREST = 10;
    private static final int PROTOTYPE_IMAGES = 8;

    private final Experiment experiment;

    ReportCollector(Experiment experiment) {
        this.experiment = experiment;
    }

    ReportData collect(Summary summary, List<Map<String, Double>> metrics, Evaluation.Results results) {
        var pipeline = experiment.pipeline();
        boolean tested = experiment.data().test().isPresent();
        Dataset train = some(Evaluation.scored(experiment, experiment.data().train()), BANK);
        Dataset test = tested ? some(Evaluation.scored(experiment, experiment.data().test().get()), POINTS) : train;
        String title = pipeline.method().name() + " on " + pipeline.data().name();
        try (Scope scope = experiment.host().scope().open()) {
            Features bank = embed(scope, train);
            Features queries = tested ? embed(scope, test) : bank;
            return new ReportData(
                    title, pipeline.method().provider().paper(), summary.values(), pipeline.toYaml(), metrics,
                    results.scores(), results.classification().map(this::predictions), Evaluation.protocol(experiment), views(), map(queries), test.classNames(), neighbours(train, bank, test, queries),
                    prototypes(train, bank));
        }
    }

    /** The part of a report that several runs can show of the same images. */
    ComparisonData.Gallery gallery() {
        boolean tested = experiment.data().test().isPresent();
        Dataset train = some(Evaluation.scored(experiment, experiment.data().train()), BANK);
        Dataset test = tested ? some(Evaluation.scored(experiment, experiment.data().test().get()), POINTS) : train;
        try (Scope scope = experiment.host().scope().open()) {
            Features bank = embed(scope, train);
            Features queries = tested ? embed(scope, test) : bank;
            return new ComparisonData.Gallery(
                    map(queries), test.classNames(), neighbours(train, bank, test, queries), experiment.views().roles().size());
        }
    }

    // evenly from the whole: folders list one class after the other
    static Dataset some(Dataset data, int limit) {
        return data.size() <= limit ? data : Subset.of(data, spread(data.size(), limit));
    }

    private static int[] spread(int size, int limit) {
        int count = Math.min(size, limit);
        return IntStream.range(0, count).map(i -> (int) ((long) i * size / count)).toArray();
    }

    private Features embed(Scope scope, Dataset data) {
        return Evaluation.features(
                scope, experiment, Evaluation.trained(experiment), data, 0, ProgressListener.SILENT);
    }

    private List<Row> views() {
        Dataset data = experiment.data().pretrain();
        int[] indices = spread(data.size(), SAMPLES);
        List<Row> rows = new ArrayList<>();
        try (Scope scope = experiment.device().scope().open()) {
            Batch batch = experiment.views().make(scope, data, indices, new RandomKey(experiment.pipeline().seed(), 0, 1 << 16));
            for (int i = 0; i < indices.length; i++) {
                List<Picture> pictures = new ArrayList<>();
                for (View view : batch.views()) {
                    String name = view.role() + " view, " + view.size() + " pixels";
                    pictures.add(new Picture(experiment.views().picture(view.images(), i), name, Mark.NONE));
                }
                rows.add(new Row(name(data, indices[i]), picture(data, indices[i]), pictures));
            }
        }
        return rows;
    }

    private Predictions predictions(Classification found) {
        Dataset test = Evaluation.scored(experiment, experiment.data().test().orElseThrow());
        List<Picture> mistakes = found.mistakes().stream()
                .map(mistake -> new Picture(
                        picture(test, mistake.index()),
                        String.format(Locale.ROOT, "%s, taken for %s (%.1f %%)", name(test, mistake.index()),
                                Charts.className(test.classNames(), mistake.prediction()), 100 * mistake.probability()),
                        Mark.OTHER))
                .toList();
        return new Predictions(found.accuracy(), found.confusion(), mistakes);
    }

    private static List<Point> map(Features features) {
        int count = Math.min(POINTS, features.count());
        int width = features.width();
        if (count < 2 || width < 2) {
            return List.of();
        }
        try (Scope scope = features.values().scope().open()) {
            float[] projected = Pca.project(scope.attach(features.values()).slice(0, 0, count), 2).toArray();
            return IntStream.range(0, count)
                    .mapToObj(i -> new Point(projected[2 * i], projected[2 * i + 1], features.labels()[i]))
                    .toList();
        }
    }

    // one query a class where there are classes, then some from all of the data; a sample is no neighbour of itself
    private List<Row> neighbours(Dataset train, Features bank, Dataset test, Features queries) {
        List<Integer> chosen = new ArrayList<>();
        for (int c = 0; c < Math.min(QUERIES, queries.classes()); c++) {
            for (int i = 0; i < queries.count(); i++) {
                if (queries.labels()[i] == c) {
                    chosen.add(i);
                    break;
                }
            }
        }
        for (int i : spread(queries.count(), QUERIES - chosen.size())) {
            if (!chosen.contains(i)) {
                chosen.add(i);
            }
        }
        boolean itself = queries == bank;
        Tensor[] chosenRows = chosen.stream().map(i -> queries.values().slice(0, i, i + 1)).toArray(Tensor[]::new);
        Neighbours found = Neighbours.search(
                bank.values(), Tensor.concat(0, chosenRows), Math.min(NEAREST + (itself ? 1 : 0), bank.count()));
        List<Row> rows = new ArrayList<>();
        for (int q = 0; q < chosen.size(); q++) {
            int query = chosen.get(q);
            List<Picture> pictures = new ArrayList<>();
            int label = queries.labels()[query];
            for (int j = 0; j < found.indices(q).length; j++) {
                int index = found.indices(q)[j];
                if (!itself || index != query) {
                    Mark mark = label < 0 || bank.labels()[index] < 0
                            ? Mark.NONE
                            : label == bank.labels()[index] ? Mark.SAME : Mark.OTHER;
                    pictures.add(new Picture(
                            picture(train, index),
                            String.format(Locale.ROOT, "%s, cosine %.3f", name(train, index), found.cosines(q)[j]),
                            mark));
                }
            }
            rows.add(new Row(name(test, query), picture(test, query), pictures));
        }
        return rows;
    }

    private List<Row> prototypes(Dataset train, Features bank) {
        if (!(experiment.method() instanceof PrototypeMethod method)) {
            return List.of();
        }
        float[] scores;
        int count;
        try (Scope scope = experiment.device().scope().open()) {
            Tensor embedded = method.embed(Pass.inference(scope), bank.values().to(scope));
            Tensor prototypes = method.prototypes(scope);
            count = (int) prototypes.size(0);
            scores = prototypes.matmulTransposed(embedded).toArray();
        }
        int samples = bank.count();
        int[] nearest = new int[count];
        for (int i = 0; i < samples; i++) {
            int best = 0;
            for (int k = 1; k < count; k++) {
                best = scores[k * samples + i] > scores[best * samples + i] ? k : best;
            }
            nearest[best]++;
        }
        // some of all sizes, from the prototype with the most images to that with the fewest
        List<Integer> bySize = IntStream.range(0, count)
                .boxed()
                .sorted(Comparator.comparingInt((Integer k) -> -nearest[k]))
                .toList();
        int shown = Math.min(SHOWN_PROTOTYPES, count);
        List<Row> rows = new ArrayList<>();
        for (int s = 0; s < shown; s++) {
            int k = bySize.get(s * count / shown);
            List<Picture> pictures = IntStream.range(0, samples)
                    .boxed()
                    .sorted(Comparator.comparingDouble((Integer i) -> -scores[k * samples + i]))
                    .limit(PROTOTYPE_IMAGES)
                    .map(i -> new Picture(picture(train, i), name(train, i), Mark.NONE))
                    .toList();
            rows.add(new Row("prototype " + k + ", nearest to " + nearest[k], new byte[0], pictures));
        }
        return rows;
    }

    private byte[] picture(Dataset data, int index) {
        return experiment.views().picture(data.read(index));
    }

    private static String name(Dataset data, int index) {
        int label = data.labelled() ? data.label(index) : -1;
        return label >= 0 && label < data.classNames().size() ? data.classNames().get(label) : "sample " + index;
    }
}
