// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.List;

/**
 * A batch, view-major: row b of every view shows sample {@code ids[b]}.
 *
 * @param ids the samples' indices in the data set
 * @param views the views, in the order of {@link Views#roles()}
 * @param labels one label a sample (-1 = none); empty if the data declare no labels
 */
public record Batch(long[] ids, List<View> views, int[] labels) {
    /**
     * The samples' indices. A step that reads them, other than to write them to the device ({@link dev.gatun.tensor.Scope#fromHost}), is
     * computed each time anew and not recorded.
     */
    @Override
    public long[] ids() {
        read("batch.ids()");
        return ids;
    }

    /** The labels; as {@link #ids}. */
    @Override
    public int[] labels() {
        read("batch.labels()");
        return labels;
    }

    private void read(String what) {
        if (!views.isEmpty()) {
            views.getFirst().images().device().hostRead(what + " outside of Scope.fromHost(...)");
        }
    }

    /** The number of samples. */
    public int size() {
        return ids.length;
    }
}
