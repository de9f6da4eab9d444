// SPDX-License-Identifier: Apache-2.0
/** Optimizers over flat parameter buffers, and schedules. */
@NullMarked
package dev.gatun.tensor.optimizer;

import org.jspecify.annotations.NullMarked;
