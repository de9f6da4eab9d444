// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;
import picocli.CommandLine.IVersionProvider;

/** The version that this build was given. */
final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
        return new String[] {"gatun " + string()};
    }

    static String string() {
        try (InputStream stream = Version.class.getResourceAsStream("version.properties")) {
            Properties properties = new Properties();
            properties.load(stream);
            return properties.getProperty("version");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
