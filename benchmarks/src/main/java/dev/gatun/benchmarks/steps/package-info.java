// SPDX-License-Identifier: Apache-2.0
/** Blocks of networks through the public API, beside the same written with PyTorch. */
package dev.gatun.benchmarks.steps;
