// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

/**
 * An epoch that starts.
 *
 * @param index counted from 0
 * @param total epochs of the run
 * @param firstStep the global step the epoch starts with
 * @param resumed whether a resumed run starts inside this epoch, after its first step
 */
public record Epoch(int index, int total, long firstStep, boolean resumed) {}
