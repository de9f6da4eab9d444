// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.optimizer.Optimizer;

/** Makes an {@link Optimizer} from the {@code optimizer} section of a pipeline file. Found by {@link java.util.ServiceLoader}. */
public interface OptimizerProvider {
    /** The value of {@code optimizer.name} that selects this provider. */
    String name();

    /**
     * The record that the other keys of the section bind to. It has a public constructor without parameters, which gives
     * the default of every key that a file leaves out.
     */
    Class<? extends Record> settings();

    /**
     * The base learning rate; the schedule's factor multiplies it.
     *
     * @param settings an instance of {@link #settings()}
     */
    double lr(Record settings);

    /**
     * Makes the optimizer.
     *
     * @param settings an instance of {@link #settings()}
     * @param parameters the built parameters it updates
     */
    Optimizer create(Record settings, Parameters parameters);
}
