// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.optimizer.FlatOptimizer;
import dev.gatun.tensor.optimizer.Optimizer;
import dev.gatun.tensor.optimizer.Schedule;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** The pipeline's optimizer, and those that its method wants for stores of their own. */
public final class Optimizers {
    private record Own(String prefix, Optimizer optimizer, Schedule rate) {}

    private final Optimizer main;
    private final List<Own> others = new ArrayList<>();
    private final Tensor broken;

    /** @param scope where what guards an update lives */
    Optimizers(Optimizer main, List<StoreOptimizer> others, Scope scope) {
        this.main = main;
        for (StoreOptimizer other : others) {
            this.others.add(new Own(other.store().prefix(), other.maker().apply(other.store()), other.rate()));
        }
        broken = scope.zeros(DType.I32, 1);
        all().forEach(optimizer -> {
            if (optimizer instanceof FlatOptimizer flat) {
                flat.skipBy(broken);
            }
        });
    }

    private Stream<Optimizer> all() {
        return Stream.concat(Stream.of(main), others.stream().map(Own::optimizer));
    }

    /**
     * Guards the update that follows, without a trip to the host: it changes nothing if the loss or a gradient is not finite. An optimizer that
     * is no {@link FlatOptimizer} does not know of it.
     *
     * @param loss the step's, one value
     * @return the norm of the gradients that each optimizer takes, the pipeline's first, f32 (1) each; none of one that cannot tell
     */
    List<Tensor> guard(Tensor loss) {
        loss.countNonfinite(broken);
        return all().filter(FlatOptimizer.class::isInstance).map(optimizer -> ((FlatOptimizer) optimizer).gradientNorm()).toList();
    }

    /** Whether every update heeds {@link #guard}. */
    boolean guarded() {
        return all().allMatch(FlatOptimizer.class::isInstance);
    }

    /** Whether the pipeline's optimizer tells its gradients' norm. */
    boolean measured() {
        return main instanceof FlatOptimizer;
    }

    /**
     * One update of everything.
     *
     * @param step which one
     * @param rate the pipeline's learning rate
     */
    void step(Step step, Schedule rate) {
        main.step(step.scalar(rate));
        for (Own own : others) {
            own.optimizer().step(step.scalar(own.rate()));
        }
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
