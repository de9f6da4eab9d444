// SPDX-License-Identifier: Apache-2.0
/** Image decoding, multi-crop views and backbones. */
@NullMarked
package dev.gatun.vision;

import org.jspecify.annotations.NullMarked;
