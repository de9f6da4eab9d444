// SPDX-License-Identifier: Apache-2.0
/** Data sets, subsets, shuffles, batches and loaders. */
@NullMarked
package dev.gatun.data;

import org.jspecify.annotations.NullMarked;
