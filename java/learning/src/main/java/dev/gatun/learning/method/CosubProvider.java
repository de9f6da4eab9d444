// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.Method;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.pipeline.Ranges;

/** Offers {@link Cosub} as {@code cosub}. */
public final class CosubProvider implements MethodProvider {
    /**
     * The {@code method} section.
     *
     * @param loss {@code bce}: a sigmoid for each class, as the authors' code; {@code softmax}: cross-entropy, the paper's alternative
     * @param weight lambda, the share of the loss with which the two submodels teach each other
     */
    public record Settings(
            String loss,
            float weight) {
        /** The paper's settings. */
        public Settings() {
            this("bce", .5f);
        }

        /** Checks the values. */
        public Settings {
            if (!loss.equals("bce") && !loss.equals("softmax")) {
                throw new IllegalArgumentException("loss: no loss " + loss + "; known losses: bce, softmax");
            }
            Ranges.within("weight", weight, 0, 1);
        }
    }

    @Override
    public String name() {
        return "cosub";
    }

    @Override
    public String paper() {
        return "Touvron, Cord, Oquab, Bojanowski, Verbeek, Jegou: Co-training 2^L Submodels for Visual Recognition, 2022";
    }

    @Override
    public String citation() {
        return "Touvron et al., 2022";
    }

    @Override
    public String needs() {
        return "labels, model.drop_path > 0";
    }

    @Override
    public String config() {
        return "fashion-mnist-cosub.yaml";
    }

    @Override
    public String advice() {
        return "";
    }

    @Override
    public Class<? extends Record> settings() {
        return Settings.class;
    }

    @Override
    public Method create(Record settings) {
        return new Cosub((Settings) settings);
    }
}
