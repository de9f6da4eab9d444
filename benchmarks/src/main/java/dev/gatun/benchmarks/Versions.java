// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;

/** Versions of libraries that do not say their own. */
public final class Versions {
    private Versions() {}

    /** As Maven left it in the jar of a class. */
    public static String of(Class<?> of, String group, String artifact) {
        try (InputStream in = of.getResourceAsStream("/META-INF/maven/" + group + "/" + artifact + "/pom.properties")) {
            Properties properties = new Properties();
            properties.load(in);
            return properties.getProperty("version");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
