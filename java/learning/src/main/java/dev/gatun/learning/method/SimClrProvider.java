// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.Method;
import dev.gatun.learning.MethodProvider;
import dev.gatun.learning.pipeline.Ranges;
import java.util.List;

/** Offers {@link SimClr} as {@code simclr}. */
public final class SimClrProvider implements MethodProvider {
    /**
     * The {@code method} section.
     *
     * @param hidden widths of the projection head's hidden layers, each with batch norm and ReLU
     * @param output D, the embedding's width
     * @param outputNorm whether a batch norm follows the head's last layer, as in the authors' code
     * @param temperature of the softmax over the batch
     */
    public record Settings(
            List<Integer> hidden,
            int output,
            boolean outputNorm,
            float temperature) {
        /** The paper's settings for ResNet-50. */
        public Settings() {
            this(List.of(2048), 128, true, .1f);
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
        return "simclr";
    }

    @Override
    public String paper() {
        return "Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations, 2020";
    }

    @Override
    public String citation() {
        return "Chen et al., 2020";
    }

    @Override
    public String needs() {
        return "2 views";
    }

    @Override
    public String config() {
        return "fashion-mnist-simclr.yaml";
    }

    @Override
    public String advice() {
        return "softer views, a larger batch or temperature";
    }

    @Override
    public Class<? extends Record> settings() {
        return Settings.class;
    }

    @Override
    public Method create(Record settings) {
        return new SimClr((Settings) settings);
    }
}
