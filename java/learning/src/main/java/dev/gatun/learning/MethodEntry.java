// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import java.util.function.Function;

/**
 * A {@link MethodProvider} made of its parts: a method's entry in the list is one class with a record of settings and a
 * constructor without parameters that calls this one's.
 *
 * @param <S> the record that the keys of the {@code method} section bind to
 */
public abstract class MethodEntry<S extends Record> implements MethodProvider {
    /**
     * What is said of a method; see the members of {@link MethodProvider} of the same names.
     *
     * @param name selects the method
     * @param paper authors, title, year
     * @param citation first author and year
     * @param needs what the method cannot work without
     * @param config a pipeline file that runs it
     * @param advice what to try when it learns nothing; may be empty
     */
    public record About(String name, String paper, String citation, String needs, String config, String advice) {}

    private final About about;
    private final Class<S> settings;
    private final Function<S, Method> maker;

    /**
     * Makes an entry.
     *
     * @param about what is said of the method
     * @param settings the record of its settings
     * @param maker makes the method from them
     */
    protected MethodEntry(About about, Class<S> settings, Function<S, Method> maker) {
        this.about = about;
        this.settings = settings;
        this.maker = maker;
    }

    @Override
    public final String name() {
        return about.name();
    }

    @Override
    public final String paper() {
        return about.paper();
    }

    @Override
    public final String citation() {
        return about.citation();
    }

    @Override
    public final String needs() {
        return about.needs();
    }

    @Override
    public final String config() {
        return about.config();
    }

    @Override
    public final String advice() {
        return about.advice();
    }

    @Override
    public final Class<S> settings() {
        return settings;
    }

    @Override
    public final Method create(Record values) {
        return maker.apply(settings.cast(values));
    }
}
