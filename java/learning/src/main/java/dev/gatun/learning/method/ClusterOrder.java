// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Shuffle;
import dev.gatun.primitives.RandomKey;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Clusters as the labels of an epoch: their numbers, and an order of the samples in which all are equally frequent. */
final class ClusterOrder {
    private ClusterOrder() {}

    /**
     * Renumbers clusters so that those that hold a sample are 0, 1, ... in their old order.
     *
     * @param clusters one a sample, overwritten; below 0 = none
     * @return how many there are
     */
    static int renumber(int[] clusters) {
        int[] names = Arrays.stream(clusters).filter(c -> c >= 0).distinct().sorted().toArray();
        for (int i = 0; i < clusters.length; i++) {
            clusters[i] = clusters[i] < 0 ? -1 : Arrays.binarySearch(names, clusters[i]);
        }
        return names.length;
    }

    /**
     * A random order of as many samples as there are, in which every cluster has the same number of places, give or take one. A
     * cluster with fewer members repeats them; of one with more, some are left out.
     *
     * @param clusters one a sample, in [0, count), none empty; below 0 = never drawn
     * @param count how many clusters
     * @param key of the random decisions
     * @return sample numbers
     */
    static int[] balanced(int[] clusters, int count, RandomKey key) {
        List<List<Integer>> members = new ArrayList<>();
        for (int c = 0; c < count; c++) {
            members.add(new ArrayList<>());
        }
        for (int sample : shuffled(key.child(0), clusters.length)) {
            if (clusters[sample] >= 0) {
                members.get(clusters[sample]).add(sample);
            }
        }
        // the clusters that get a place more, and the order of all places, are random too
        int[] turns = shuffled(key.child(1), count);
        int[] places = shuffled(key.child(2), clusters.length);
        int[] order = new int[clusters.length];
        for (int i = 0; i < order.length; i++) {
            List<Integer> cluster = members.get(turns[i % count]);
            order[places[i]] = cluster.get(i / count % cluster.size());
        }
        return order;
    }

    private static int[] shuffled(RandomKey key, int n) {
        return Shuffle.permutation(key.seed(), key.step(), key.stream(), n);
    }
}
