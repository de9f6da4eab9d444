// SPDX-License-Identifier: Apache-2.0
/** The {@code gatun} command. */
@NullMarked
package dev.gatun.cli;

import org.jspecify.annotations.NullMarked;
