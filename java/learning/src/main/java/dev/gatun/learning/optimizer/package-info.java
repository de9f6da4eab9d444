// SPDX-License-Identifier: Apache-2.0
/** Optimizers by name. */
@NullMarked
package dev.gatun.learning.optimizer;

import org.jspecify.annotations.NullMarked;
