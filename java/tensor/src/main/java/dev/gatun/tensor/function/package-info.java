// SPDX-License-Identifier: Apache-2.0
/** Differentiable functions, one class an operation. */
@NullMarked
package dev.gatun.tensor.function;

import org.jspecify.annotations.NullMarked;
