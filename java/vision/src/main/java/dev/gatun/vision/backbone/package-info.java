// SPDX-License-Identifier: Apache-2.0
/** Backbones: encoders of images with their published layouts and any width and depth. */
@NullMarked
package dev.gatun.vision.backbone;

import org.jspecify.annotations.NullMarked;
