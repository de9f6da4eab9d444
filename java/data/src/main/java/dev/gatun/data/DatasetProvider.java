// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

/** Makes a data set from the {@code data} section of a pipeline file. Found by {@link java.util.ServiceLoader}. */
public interface DatasetProvider {
    /** The value of {@code data.name} that selects this provider. */
    String name();

    /**
     * The record that the other keys of the section bind to. It has a public constructor without parameters, which
     * gives the default of every key that a file leaves out.
     */
    Class<? extends Record> settings();

    /**
     * Opens the data.
     *
     * @param settings an instance of {@link #settings()}
     * @param seed the experiment's seed; decides which elements a subset holds
     * @throws DataException if the data are missing or unusable; one line that names what and where
     */
    Datasets create(Record settings, long seed);
}
