// SPDX-License-Identifier: Apache-2.0
/** Layers, the parameters they own, and what a pass through them needs. */
@NullMarked
package dev.gatun.tensor.layer;

import org.jspecify.annotations.NullMarked;
