// SPDX-License-Identifier: Apache-2.0
/** What a run leaves to read: summary, page, features for use elsewhere. */
@NullMarked
package dev.gatun.learning.report;

import org.jspecify.annotations.NullMarked;
