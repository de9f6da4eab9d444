// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.optimizer.FlatOptimizer;
import dev.gatun.tensor.optimizer.Optimizer;
import dev.gatun.tensor.optimizer.Schedule;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;

/** The pipeline's optimizer, and those that its method wants for stores of their own. */
public final class Optimizers {
    private record Own(String prefix, Optimizer optimizer, Schedule rate) {}

    private final Optimizer main;
    private final List<Own> others = new ArrayList<>();

    Optimizers(Optimizer main, List<StoreOptimizer> others) {
        this.main = main;
        for (StoreOptimizer other : others) {
            this.others.add(new Own(other.store().prefix(), other.maker().apply(other.store()), other.rate()));
        }
    }

    /**
     * One update of everything.
     *
     * @param index the global step
     * @param rate the pipeline's learning rate
     */
    void step(long index, float rate) {
        main.step(rate);
        for (Own own : others) {
            own.optimizer().step(own.rate().at(index));
        }
    }

    /** The norm of the gradients that the pipeline's optimizer takes, where it can tell. */
    OptionalDouble gradientNorm() {
        return main instanceof FlatOptimizer flat
                ? OptionalDouble.of(flat.clip(Float.POSITIVE_INFINITY))
                : OptionalDouble.empty();
    }

    /** What a checkpoint holds of them; the tensors of a store's own optimizer behind the store's name. */
    public List<NamedTensor> state() {
        List<NamedTensor> state = new ArrayList<>(main.state());
        for (Own own : others) {
            own.optimizer().state().forEach(t -> state.add(new NamedTensor(own.prefix() + t.name(), t.tensor())));
        }
        return state;
    }
}
