// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.ViewRole;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameters;
import java.util.List;
import java.util.function.Consumer;

/**
 * What a method is built from.
 *
 * @param encoder the backbone, (B, H, W, C) → (B, {@link Encoder#features()}); its parameters are declared already
 * @param parameters where the method declares its own parameters and state, beside {@code backbone}
 * @param views what each view of a batch is for, in order; global views first
 * @param batch samples a batch
 * @param classes classes of the labels; 0 without labels
 * @param stepsPerEpoch updates an epoch
 * @param epochs epochs of the run
 * @param warnings takes one line about something odd in the settings that does not stop the run
 */
public record MethodBuild(
        Encoder encoder,
        Parameters parameters,
        List<ViewRole> views,
        int batch,
        int classes,
        long stepsPerEpoch,
        int epochs,
        Consumer<String> warnings) {}
