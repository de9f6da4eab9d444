// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.Method;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.pipeline.Ranges;
import java.util.List;

/** Offers {@link SupCon} as {@code supcon}. */
public final class SupConProvider implements MethodProvider {
    /**
     * The {@code method} section.
     *
     * @param hidden widths of the projection head's hidden layers, each with a ReLU
     * @param output D, the embedding's width
     * @param temperature of the softmax over the batch
     */
    public record Settings(
            List<Integer> hidden,
            int output,
            float temperature) {
        /** The paper's settings for ResNet-50. */
        public Settings() {
            this(List.of(2048), 128, .07f);
        }

        /** Checks the values. */
        public Settings {
            hidden.forEach(width -> Ranges.atLeast("hidden", width, 1));
            Ranges.atLeast("output", output, 1);
            Ranges.above("temperature", temperature, 0);
        }
    }

    @Override
    public String name() {
        return "supcon";
    }

    @Override
    public String paper() {
        return "Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan: Supervised Contrastive Learning, 2020";
    }

    @Override
    public String citation() {
        return "Khosla et al., 2020";
    }

    @Override
    public String needs() {
        return "2 views, labels";
    }

    @Override
    public String config() {
        return "fashion-mnist-supcon.yaml";
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
        return new SupCon((Settings) settings);
    }
}
