// SPDX-License-Identifier: Apache-2.0
/** Blocks of networks and whole training steps through the public API, beside the same written with PyTorch. */
package dev.gatun.benchmarks.steps;
