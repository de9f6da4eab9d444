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
    /** The number of samples. */
    public int size() {
        return ids.length;
    }
}
