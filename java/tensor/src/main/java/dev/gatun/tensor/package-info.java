// SPDX-License-Identifier: Apache-2.0
/** Devices, scopes, tensors and the tape. */
@NullMarked
package dev.gatun.tensor;

import org.jspecify.annotations.NullMarked;
