// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

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

    /** An image that is part of the page. */
    static String image(byte[] png, String title, String style) {
        String text = escape(title);
        return "<img" + (style.isEmpty() ? "" : " class='" + style + "'") + " alt='" + text + "' title='" + text
                + "' src='data:image/png;base64," + Base64.getEncoder().encodeToString(png) + "'/>";
    }
}
