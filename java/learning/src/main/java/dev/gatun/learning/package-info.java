// SPDX-License-Identifier: Apache-2.0
/** Methods, experiments, the trainer, and whole runs. */
@NullMarked
package dev.gatun.learning;

import org.jspecify.annotations.NullMarked;
