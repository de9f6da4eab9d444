// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.MethodEntry;

/** Offers {@link Supervised} as {@code supervised}. */
public final class SupervisedProvider extends MethodEntry<SupervisedProvider.Settings> {
    /** The {@code method} section has no keys. */
    public record Settings() {}

    /** Found by {@link java.util.ServiceLoader}. */
    public SupervisedProvider() {
        super(
                new About(
                        "supervised",
                        "cross-entropy with labels: the baseline that has seen them",
                        "the baseline",
                        "labels",
                        "fashion-mnist-supervised.yaml",
                        ""),
                Settings.class,
                settings -> new Supervised());
    }
}
