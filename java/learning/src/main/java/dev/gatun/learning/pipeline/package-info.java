// SPDX-License-Identifier: Apache-2.0
/** Pipeline files: a whole experiment as records. */
@NullMarked
package dev.gatun.learning.pipeline;

import org.jspecify.annotations.NullMarked;
