// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Tensor;

/**
 * What a batch normalisation has beside its parameters: the statistics that training moves and inference normalises by, and the two
 * constants that go with them.
 *
 * @param mean (C), f32
 * @param variance (C), f32, unbiased
 * @param momentum share of the batch in the statistics: (1 − momentum)·running + momentum·batch; inference does not read it
 * @param epsilon added to the variance, the batch's or this one, before the root
 */
public record RunningStatistics(Tensor mean, Tensor variance, float momentum, double epsilon) {
    /** To be called after a training pass overwrote them: a tape that kept an earlier value says so. */
    void written() {
        mean.written();
        variance.written();
    }
}
