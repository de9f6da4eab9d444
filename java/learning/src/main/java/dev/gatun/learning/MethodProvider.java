// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

/** Makes a {@link Method} from the {@code method} section of a pipeline file. Found by {@link java.util.ServiceLoader}. */
public interface MethodProvider {
    /** The value of {@code method.name} that selects this provider. */
    String name();

    /** Where the method is from: authors, title, year. */
    String paper();

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
}
