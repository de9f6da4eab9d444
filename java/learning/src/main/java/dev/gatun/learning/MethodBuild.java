// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.ViewRole;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.optimizer.Optimizer;
import dev.gatun.tensor.optimizer.Schedule;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * What a method is built from.
 *
 * @param encoder the backbone, (B, H, W, C) → (B, {@link Encoder#features()}); its parameters are declared already
 * @param encoders makes the backbone once more, in a store of its own ({@link Parameters#apart}): a target network, which then
 *     starts equal to the first
 * @param parameters where the method declares its own parameters and state, beside {@code backbone}
 * @param views what each view of a batch is for, in order; global views first
 * @param samples training samples; a batch's ids are numbers below it
 * @param batch samples a batch
 * @param classes classes of the labels; 0 without labels
 * @param stepsPerEpoch updates an epoch
 * @param steps updates of the run
 * @param optimizers takes an optimizer for a store apart; see {@link #optimizer}
 * @param warnings takes one line about something odd in the settings that does not stop the run
 */
public record MethodBuild(
        Encoder encoder,
        Function<Parameters, Encoder> encoders,
        Parameters parameters,
        List<ViewRole> views,
        int samples,
        int batch,
        int classes,
        long stepsPerEpoch,
        long steps,
        Consumer<StoreOptimizer> optimizers,
        Consumer<String> warnings) {
    /**
     * Gives a store apart an optimizer of its own; without, nothing but the method changes the store.
     *
     * @param store made by {@link Parameters#apart}
     * @param maker makes the optimizer, once the store has memory
     * @param rate its learning rate by global step
     */
    public void optimizer(Parameters store, Function<Parameters, Optimizer> maker, Schedule rate) {
        optimizers.accept(new StoreOptimizer(store, maker, rate));
    }

    /** The places, among a batch's views, of those with the role {@code global}. */
    public List<Integer> globalViews() {
        return java.util.stream.IntStream.range(0, views.size())
                .filter(v -> views.get(v).role().equals("global"))
                .boxed()
                .toList();
    }
}
