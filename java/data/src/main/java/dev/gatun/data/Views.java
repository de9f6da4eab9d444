// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.util.List;

/**
 * Makes the views of a batch. Every random decision is a function of the key and the sample's id, so the same batch
 * comes out for any number of threads, for any order of the samples and after a resume.
 */
public interface Views {
    /** The number of views that {@link #make} gives. */
    default int count() {
        return roles().size();
    }

    /** What each view is for, in the order of the views: global ones first. */
    List<ViewRole> roles();

    /** The shape (height, width, channels) of one image that {@link #plain} gives. */
    long[] shape();

    /**
     * Makes the random views of some elements, for training.
     *
     * @param scope where the views' tensors live
     * @param data the data set
     * @param indices which elements; also the ids that key the random decisions
     * @param key seed, step and stream of the random decisions
     * @throws DataException if an element cannot be read
     */
    default Batch make(Scope scope, Dataset data, int[] indices, RandomKey key) {
        try (Scope staging = scope.open()) {
            Samples samples = samples(data, indices);
            return make(scope, samples, samples.place(staging), key);
        }
    }

    /**
     * Reads elements: the host's part of {@link #make(Scope, Dataset, int[], RandomKey)}.
     *
     * @param data the data set
     * @param indices which elements
     * @throws DataException if an element cannot be read
     */
    Samples samples(Dataset data, int[] indices);

    /**
     * Makes the random views of elements that lie on the device: the device's part of {@link #make(Scope, Dataset, int[], RandomKey)}. Views
     * that do without the host here can be part of a recorded step.
     *
     * @param scope where the views' tensors live
     * @param samples from {@link #samples}
     * @param tensors what they store, on the device
     * @param key seed, step and stream of the random decisions
     */
    Batch make(Scope scope, Samples samples, List<Tensor> tensors, RandomKey key);

    /**
     * Makes the elements as an evaluation sees them: nothing random, normalised as the views are.
     *
     * @param scope where the tensor lives
     * @param data the data set
     * @param indices which elements
     * @return (indices, height, width, channels), f32
     * @throws DataException if an element cannot be read
     */
    Tensor plain(Scope scope, Dataset data, int[] indices);

    /**
     * Draws one image of a view, the normalisation undone, for a report.
     *
     * @param images (batch, height, width, channels), as {@link #make} and {@link #plain} give them
     * @param row which image
     * @return a PNG file
     */
    byte[] picture(Tensor images, int row);

    /**
     * Draws one element as stored, for a report.
     *
     * @return a PNG file
     */
    byte[] picture(Element element);
}
