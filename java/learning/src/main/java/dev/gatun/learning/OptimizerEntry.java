// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.optimizer.Optimizer;
import java.util.function.BiFunction;
import java.util.function.ToDoubleFunction;

/**
 * An {@link OptimizerProvider} made of its parts, as {@link MethodEntry} is for methods.
 *
 * @param <S> the record that the keys of the {@code optimizer} section bind to
 */
public abstract class OptimizerEntry<S extends Record> implements OptimizerProvider {
    private final String name;
    private final Class<S> settings;
    private final ToDoubleFunction<S> lr;
    private final BiFunction<S, Parameters, Optimizer> maker;

    /**
     * Makes an entry.
     *
     * @param name selects the optimizer
     * @param settings the record of its settings
     * @param lr the base learning rate among them
     * @param maker makes the optimizer of built parameters
     */
    protected OptimizerEntry(String name, Class<S> settings, ToDoubleFunction<S> lr, BiFunction<S, Parameters, Optimizer> maker) {
        this.name = name;
        this.settings = settings;
        this.lr = lr;
        this.maker = maker;
    }

    @Override
    public final String name() {
        return name;
    }

    @Override
    public final Class<S> settings() {
        return settings;
    }

    @Override
    public final double lr(Record values) {
        return lr.applyAsDouble(settings.cast(values));
    }

    @Override
    public final Optimizer create(Record values, Parameters parameters) {
        return maker.apply(settings.cast(values), parameters);
    }
}
