// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/** Some elements of another data set, in a given order. */
public final class Subset implements Dataset {
    private final Dataset whole;
    private final int[] indices;

    private Subset(Dataset whole, int[] indices) {
        this.whole = whole;
        this.indices = indices;
    }

    /**
     * Picks elements.
     *
     * @param indices each in [0, whole.size())
     */
    public static Subset of(Dataset whole, int... indices) {
        for (int index : indices) {
            Objects.checkIndex(index, whole.size());
        }
        return new Subset(whole, indices.clone());
    }

    /**
     * The first elements of a seeded permutation: a random subset that depends on the seed alone, and of which every
     * smaller one is a prefix.
     *
     * @param count in [1, whole.size()]
     * @throws DataException if there are fewer elements
     */
    public static Subset random(Dataset whole, int count, long seed) {
        if (count < 1 || count > whole.size()) {
            throw new DataException("subset", "wants " + count + " of " + whole.size() + " elements");
        }
        return new Subset(whole, Arrays.copyOf(Shuffle.permutation(seed, 0, Shuffle.SUBSET, whole.size()), count));
    }

    /**
     * The same number of elements from every class: of each class the first in a seeded permutation, kept in the
     * permutation's order.
     *
     * @param perClass how many a class
     * @throws DataException if the data have no labels, or a class has fewer elements
     */
    public static Subset balanced(Dataset whole, int perClass, long seed) {
        if (!whole.labelled()) {
            throw new DataException("subset", "wants " + perClass + " elements a class of data without labels");
        }
        int[] taken = new int[whole.classes()];
        int[] indices = new int[Math.multiplyExact(perClass, whole.classes())];
        int n = 0;
        for (int index : Shuffle.permutation(seed, 0, Shuffle.SUBSET, whole.size())) {
            int label = whole.label(index);
            if (label >= 0 && taken[label] < perClass) {
                taken[label]++;
                indices[n++] = index;
            }
        }
        for (int c = 0; c < taken.length; c++) {
            if (taken[c] < perClass) {
                throw new DataException("subset", "wants " + perClass + " elements of class " + whole.classNames().get(c)
                        + ", which has " + taken[c]);
            }
        }
        return new Subset(whole, indices);
    }

    /** The index in the whole data set of an element of this one. */
    public int original(int index) {
        return indices[index];
    }

    @Override
    public int size() {
        return indices.length;
    }

    @Override
    public Element read(int index) {
        return whole.read(indices[index]);
    }

    @Override
    public boolean labelled() {
        return whole.labelled();
    }

    @Override
    public int label(int index) {
        return whole.label(indices[index]);
    }

    @Override
    public int classes() {
        return whole.classes();
    }

    @Override
    public List<String> classNames() {
        return whole.classNames();
    }

    @Override
    public String describe(int index) {
        return whole.describe(indices[index]);
    }

    @Override
    public boolean resident() {
        return whole.resident();
    }
}
