// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import dev.gatun.tensor.Tensor;

/**
 * One view of every sample of a batch.
 *
 * @param role {@code "global"} or {@code "local"}
 * @param size the side of the images in pixels
 * @param images (batch, size, size, channels), f32, normalised
 */
public record View(String role, int size, Tensor images) {}
