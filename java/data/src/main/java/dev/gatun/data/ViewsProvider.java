// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

/** Makes {@link Views} from the {@code views} section of a pipeline file. Found by {@link java.util.ServiceLoader}. */
public interface ViewsProvider {
    /** The value of {@code views.name} that selects this provider. */
    String name();

    /**
     * The record that the other keys of the section bind to. It has a public constructor without parameters, which
     * gives the default of every key that a file leaves out; so has every record inside it.
     */
    Class<? extends Record> settings();

    /**
     * Makes the views.
     *
     * @param settings an instance of {@link #settings()}
     * @param data the data that the views will be made of: decides the channels, and the size of plain images if the
     *     settings leave it open
     * @throws IllegalArgumentException if a setting is outside its range; one line that names it
     */
    Views create(Record settings, Dataset data);
}
