// SPDX-License-Identifier: Apache-2.0
/** The methods: SwAV, the supervised baseline, and a user's own from one file. */
@NullMarked
package dev.gatun.learning.method;

import org.jspecify.annotations.NullMarked;
