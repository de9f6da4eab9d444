// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.Optional;

/**
 * The parts of a data set that an experiment uses.
 *
 * @param pretrain what a method trains on; its labels are only for methods that declare they use them
 * @param train what the evaluation fits its probes on and searches neighbours in
 * @param test what the evaluation scores, if there is such a part
 */
public record Datasets(Dataset pretrain, Dataset train, Optional<Dataset> test) {
    /**
     * Parts of which the method sees a random subset of the training data.
     *
     * @param images how many elements the method trains on; 0: all
     * @param seed decides which
     * @throws DataException if there are fewer
     */
    public static Datasets of(Dataset train, Optional<Dataset> test, int images, long seed) {
        if (images < 0 || images > train.size()) {
            throw new DataException("data.images", "is " + images + "; allowed is 1 to " + train.size() + ", or 0 for all");
        }
        return new Datasets(images == 0 ? train : Subset.random(train, images, seed), train, test);
    }
}
