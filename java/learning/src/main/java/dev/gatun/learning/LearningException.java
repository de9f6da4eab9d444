// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

/**
 * A run cannot go on for a reason its user can act on: a wrong pipeline file, a damaged checkpoint, a loss that is not
 * finite. The message is one line that names what is wrong and where; commands print it without a stack trace.
 */
public final class LearningException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** @param message one line: what and where; line breaks in it are joined */
    public LearningException(String message) {
        super(oneLine(message));
    }

    /**
     * @param message one line: what and where; line breaks in it are joined
     * @param cause what was thrown below
     */
    public LearningException(String message, Throwable cause) {
        super(oneLine(message), cause);
    }

    private static String oneLine(String message) {
        return message.strip().replaceAll("\\s*[\\r\\n]+\\s*", "; ");
    }
}
