// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.Method;
import dev.gatun.learning.MethodProvider;

/** Offers {@link Supervised} as {@code supervised}. */
public final class SupervisedProvider implements MethodProvider {
    /** The {@code method} section has no keys. */
    public record Settings() {}

    @Override
    public String name() {
        return "supervised";
    }

    @Override
    public String paper() {
        return "cross-entropy with labels: the baseline that has seen them";
    }

    @Override
    public String citation() {
        return "the baseline";
    }

    @Override
    public String needs() {
        return "labels";
    }

    @Override
    public String config() {
        return "fashion-mnist-supervised.yaml";
    }

    @Override
    public String advice() {
        return "";
    }

    @Override
    public Class<? extends Record> settings() {
        return Settings.class;
    }

    @Override
    public Method create(Record settings) {
        return new Supervised();
    }
}
