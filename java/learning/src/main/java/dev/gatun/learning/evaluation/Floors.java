// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.data.Dataset;
import dev.gatun.learning.Experiment;
import dev.gatun.learning.evaluation.Evaluation.Embedder;
import dev.gatun.learning.evaluation.Evaluation.Scores;
import dev.gatun.tensor.Scope;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/**
 * Scores of raw pixels and untrained encoders that are known already: runs on the same data with the same plain images, or the
 * same seed of the same encoder, share them.
 */
public final class Floors {
    private static final int SAMPLES = 16;

    private final Map<String, Scores> known = new LinkedHashMap<>();

    /** What is known, by {@link #key}; may be added to. */
    public Map<String, Scores> known() {
        return known;
    }

    Scores get(String key, Supplier<Scores> compute) {
        Scores found = known.get(key);
        if (found == null) {
            found = compute.get();
            known.put(key, found);
        }
        return found;
    }

    /**
     * What a floor's scores depend on: the data, the protocol, and the features of some samples, which stand for all of them.
     *
     * @param experiment the experiment
     * @param embedder what makes the features
     */
    static String key(Experiment experiment, Embedder embedder) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            var pipeline = experiment.pipeline();
            String words = pipeline.data().name() + pipeline.data().settings() + Evaluation.protocol(experiment);
            digest.update(words.getBytes(StandardCharsets.UTF_8));
            for (Dataset data : new Dataset[] {
                Evaluation.scored(experiment, experiment.data().train()), Evaluation.scored(experiment, experiment.data().test().orElseThrow())
            }) {
                int count = Math.min(SAMPLES, data.size());
                int[] some = IntStream.range(0, count).map(i -> (int) ((long) i * data.size() / count)).toArray();
                try (Scope scope = experiment.device().scope().open()) {
                    float[] values = embedder.embed(scope, experiment.views().plain(scope, data, some)).contiguous().toArray();
                    ByteBuffer bytes = ByteBuffer.allocate(values.length * Float.BYTES);
                    bytes.asFloatBuffer().put(values);
                    digest.update(bytes);
                    digest.update(ByteBuffer.allocate(4).putInt(0, data.size()));
                }
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
