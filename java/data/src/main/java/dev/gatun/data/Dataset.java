// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.List;

/**
 * An ordered, immutable collection of elements with or without labels. Reading is deterministic and safe from several
 * threads at once.
 */
public interface Dataset {
    /** The number of elements. */
    int size();

    /**
     * Reads one element.
     *
     * @param index in [0, size)
     * @throws DataException if the element cannot be read or decoded; one line that names its file
     */
    Element read(int index);

    /** Whether the data declare labels at all. */
    boolean labelled();

    /**
     * The label of an element, in [0, classes), or -1 for none.
     *
     * @param index in [0, size)
     */
    int label(int index);

    /** The number of classes; 0 without labels. */
    int classes();

    /** One name a class; empty without labels. */
    List<String> classNames();

    /**
     * Where an element comes from: its file, or its file and record. For errors and reports.
     *
     * @param index in [0, size)
     */
    String describe(int index);

    /** Whether {@link #read} only looks at memory; a loader then has nothing to read ahead. */
    default boolean resident() {
        return false;
    }

    /**
     * The labels of some elements.
     *
     * @param indices each in [0, size)
     * @return one label an index, or an empty array if the data have none
     */
    default int[] labels(int[] indices) {
        if (!labelled()) {
            return new int[0];
        }
        int[] labels = new int[indices.length];
        for (int i = 0; i < labels.length; i++) {
            labels[i] = label(indices[i]);
        }
        return labels;
    }
}
