// SPDX-License-Identifier: Apache-2.0
/** Where the time of a training step goes: by kernel, and beside them. */
@NullMarked
package dev.gatun.learning.profile;

import org.jspecify.annotations.NullMarked;
