// SPDX-License-Identifier: Apache-2.0
/** What frozen features are worth: neighbours, probes, and views of their space. */
@NullMarked
package dev.gatun.learning.evaluation;

import org.jspecify.annotations.NullMarked;
