// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

/** Offers a family of encoders by name; found by {@link java.util.ServiceLoader}. */
public interface EncoderProvider {
    /** The name in a pipeline file's {@code model} section. */
    String name();

    /** The record that the section's other keys are bound to. */
    Class<? extends Record> settings();

    /**
     * Makes an encoder.
     *
     * @param settings an instance of {@link #settings}
     * @param parameters where its parameters go
     * @param inputShape shape of one input, for images (H, W, C); sizes may differ from batch to batch where the family allows
     */
    Encoder create(Record settings, Parameters parameters, long[] inputShape);
}
