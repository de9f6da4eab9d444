// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Batch;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Tensor;
import java.util.Optional;

/**
 * A way to learn: given the views of a batch, a loss. A method knows neither the device nor the modality nor the trainer;
 * what it learns and what it remembers are parameters and named state that {@link #build} declares, so that every
 * checkpoint holds them.
 *
 * <p>The trainer calls, for every update: {@link #beforeStep}, then {@link #loss} and the backward pass (several times if
 * gradients are accumulated), {@link #afterBackward}, the optimizer, {@link #afterUpdate}.
 */
public interface Method {
    /** Whether the loss reads the batch's labels; the data must then have them. Else a batch comes without labels. */
    default boolean usesLabels() {
        return false;
    }

    /**
     * Declares the method's own parameters and state. Called once, before their memory exists.
     *
     * @param build the encoder, the parameters to add to, and what is known of the run
     * @throws IllegalArgumentException if the method cannot work in this run; one line that says why
     */
    void build(MethodBuild build);

    /**
     * The loss of a batch: a scalar on the step's tape.
     *
     * @param batch the views, each (B, H, W, C), in the order of {@link MethodBuild#views()}
     * @param step the current step
     */
    Tensor loss(Batch batch, Step step);

    /**
     * Called before the first step of every epoch, outside any graph. What it decides must be written to parameters or state:
     * a run that is resumed inside the epoch does not call it again.
     *
     * @param epoch which epoch, and all training samples
     */
    default void beforeEpoch(Epoch epoch) {}

    /**
     * Which samples an epoch visits, in order; its batches are taken from the front. Called after {@link #beforeEpoch}, and
     * again when a run is resumed inside the epoch: a function of what {@link #beforeEpoch} wrote and of the arguments alone, not of
     * parameters that have been trained since.
     *
     * @param epoch which epoch, from 0
     * @param key of the order's random decisions
     * @return at least as many ids as the epoch has samples, each in [0, N), repetitions allowed; empty = every sample
     *     once, in a random order
     */
    default Optional<int[]> order(int epoch, RandomKey key) {
        return Optional.empty();
    }

    /**
     * Called once before the first step of a run, and of a resumed one, when all state holds its values. What of it decides what a step
     * does is read here: a step itself should not read values back ({@link dev.gatun.tensor.CapturedStep}).
     */
    default void restored() {}

    /**
     * Called before the first loss of an update, outside the graph.
     *
     * @param step the current step
     */
    default void beforeStep(Step step) {}

    /**
     * Called when the gradients of an update are complete, before the optimizer. What lay inside the networks is gone by then.
     *
     * @param step the current step
     */
    default void afterBackward(Step step) {}

    /**
     * Called after the optimizer.
     *
     * @param step the current step
     */
    default void afterUpdate(Step step) {}
}
