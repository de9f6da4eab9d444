// SPDX-License-Identifier: Apache-2.0
/** Files of a run's state, written whole or not at all. */
@NullMarked
package dev.gatun.learning.checkpoint;

import org.jspecify.annotations.NullMarked;
