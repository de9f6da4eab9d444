// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.BatchNorm;
import dev.gatun.tensor.layer.DropPath;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Linear;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.Sequential;

/** An encoder with all that makes training hard to repeat: statistics of batches and residual branches that drop at random. */
public final class Blocks implements EncoderProvider {
    /** The features' width; how often and in which form branches drop. */
    public record Settings(int width, double dropPath, String form) {
        public Settings() {
            this(8, 0, "MASK");
        }
    }

    @Override
    public String name() {
        return "blocks";
    }

    @Override
    public Class<? extends Record> settings() {
        return Settings.class;
    }

    @Override
    public Encoder create(Record record, Parameters parameters, long[] inputShape) {
        Settings settings = (Settings) record;
        int width = settings.width();
        long pixels = inputShape[0] * inputShape[1] * inputShape[2];
        Layer stem = new Sequential(
                new Linear(parameters.sub("stem"), (int) pixels, width, false), new BatchNorm(parameters.sub("norm"), width, true));
        Layer first = new Linear(parameters.sub("0"), width, width, true);
        Layer second = new Linear(parameters.sub("1"), width, width, true);
        DropPath drop = new DropPath(settings.dropPath(), DropPath.Form.valueOf(settings.form()));
        return new Encoder() {
            @Override
            public int features() {
                return width;
            }

            @Override
            public Tensor forward(Pass pass, Tensor x) {
                Tensor stemmed = stem.forward(pass, x.reshape(x.size(0), -1));
                return drop.residual(pass, drop.residual(pass, stemmed, first), second);
            }
        };
    }
}
