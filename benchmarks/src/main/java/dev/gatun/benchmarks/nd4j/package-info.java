// SPDX-License-Identifier: Apache-2.0
/** ND4J as a peer, where it has the operation. */
package dev.gatun.benchmarks.nd4j;
