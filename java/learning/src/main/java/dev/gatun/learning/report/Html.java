// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

/** Small parts of a page. */
final class Html {
    private Html() {}

    /** A text in which nothing is markup. */
    static String escape(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;")
                .replace("'", "&#39;");
    }

    /**
     * A page's start, to the end of its header.
     *
     * @param title the page's
     * @param subtitle below it
     */
    static String open(String title, String subtitle) {
        return "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'/>"
                + "<meta name='viewport' content='width=device-width, initial-scale=1'/><title>" + escape(title) + "</title><style>"
                + resource("report.css") + "</style></head><body><main><header><h1>" + escape(title) + "</h1><p>" + escape(subtitle)
                + "</p></header>";
    }

    /** A page's end. */
    static String close() {
        return "</main><script>//<![CDATA[\n" + resource("report.js") + "//]]></script></body></html>\n";
    }

    /** A section's start. */
    static String section(String title, String note) {
        return "<section><h2>" + escape(title) + "</h2><p class='note'>" + escape(note) + "</p>";
    }

    /** An image that is part of the page. */
    static String image(byte[] png, String title, String style) {
        String text = escape(title);
        return "<img" + (style.isEmpty() ? "" : " class='" + style + "'") + " alt='" + text + "' title='" + text
                + "' src='data:image/png;base64," + Base64.getEncoder().encodeToString(png) + "'/>";
    }

    private static String resource(String name) {
        try (InputStream stream = Html.class.getResourceAsStream(name)) {
            if (stream == null) {
                throw new IllegalStateException("the jar lacks " + name);
            }
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }
}
