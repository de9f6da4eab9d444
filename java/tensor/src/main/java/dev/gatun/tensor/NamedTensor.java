// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

/**
 * A tensor as a checkpoint sees it.
 *
 * @param name unique within its file
 * @param tensor the live tensor: reading it saves, {@link Tensor#copyFrom} restores
 */
public record NamedTensor(String name, Tensor tensor) {}
