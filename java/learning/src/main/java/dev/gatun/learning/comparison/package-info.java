// SPDX-License-Identifier: Apache-2.0
/** Several pipelines under one budget, beside each other. */
@NullMarked
package dev.gatun.learning.comparison;

import org.jspecify.annotations.NullMarked;
