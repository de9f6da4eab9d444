// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.List;

/** A data set whose elements are another's, read in another way; {@link #resident} is not passed on. */
abstract class ForwardingDataset implements Dataset {
    /** The other. */
    final Dataset data;

    ForwardingDataset(Dataset data) {
        this.data = data;
    }

    @Override
    public int size() {
        return data.size();
    }

    @Override
    public boolean labelled() {
        return data.labelled();
    }

    @Override
    public int label(int index) {
        return data.label(index);
    }

    @Override
    public int classes() {
        return data.classes();
    }

    @Override
    public List<String> classNames() {
        return data.classNames();
    }

    @Override
    public String describe(int index) {
        return data.describe(index);
    }
}
