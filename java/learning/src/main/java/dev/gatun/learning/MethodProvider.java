// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import java.util.Optional;

/**
 * Makes a {@link Method} from the {@code method} section of a pipeline file, and says what {@code gatun methods} shows of it. Found
 * by {@link java.util.ServiceLoader}.
 */
public interface MethodProvider {
    /** The value of {@code method.name} that selects this provider. */
    String name();

    /** Where the method is from: authors, title, year. */
    String paper();

    /** The paper in a table: first author and year, such as {@code Caron et al., 2020}; at most 22 characters. */
    String citation();

    /**
     * What the method cannot work without, for a table: how many views and of which role, labels, a model with stochastic depth.
     * For SimCLR {@code 2 views}, for SupCon {@code 2 views, labels}; at most 27 characters.
     */
    String needs();

    /** The file in the folder {@code configs} that runs it, such as {@code fashion-mnist-swav.yaml}. */
    String config();

    /**
     * What to try when the loss stays where a method that predicts nothing would be ({@link Step#UNINFORMED_LOSS}), such as
     * {@code a smaller epsilon or softer views}; empty where nothing is known or that metric is not logged.
     */
    String advice();

    /**
     * The record that the other keys of the section bind to. It has a public constructor without parameters, which gives
     * the default of every key that a file leaves out.
     */
    Class<? extends Record> settings();

    /**
     * Makes the method.
     *
     * @param settings an instance of {@link #settings()}
     */
    Method create(Record settings);

    /** What tells this method from another of the same name, as a file's text does from an edited one; empty where the name is enough. */
    default Optional<String> fingerprint() {
        return Optional.empty();
    }

    /**
     * Says where in the user's own source an exception came from.
     *
     * @param exception thrown while the method ran
     * @return the file, the line and what went wrong; empty for a method that is not compiled from a file, or had no part in it
     */
    default Optional<String> explain(RuntimeException exception) {
        return Optional.empty();
    }
}
