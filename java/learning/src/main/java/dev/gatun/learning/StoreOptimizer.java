// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.optimizer.Optimizer;
import dev.gatun.tensor.optimizer.Schedule;
import java.util.function.Function;

/**
 * An optimizer that a method wants for a store apart ({@link Parameters#apart}). The trainer steps it after the pipeline's
 * own, and checkpoints hold its state.
 *
 * @param store what it updates, a whole store
 * @param maker makes it, once the store has memory
 * @param rate its learning rate by global step
 */
public record StoreOptimizer(Parameters store, Function<Parameters, Optimizer> maker, Schedule rate) {}
