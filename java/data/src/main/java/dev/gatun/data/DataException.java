// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

/** Data that cannot be used. The message is one line that names the file, folder or record and what is wrong with it. */
public final class DataException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * @param where the file, folder or record
     * @param what what is wrong with it
     */
    public DataException(String where, String what) {
        super(oneLine(where + ": " + what));
    }

    /**
     * @param where the file, folder or record
     * @param what what is wrong with it
     * @param cause the failure below
     */
    public DataException(String where, String what, Throwable cause) {
        super(oneLine(where + ": " + what), cause);
    }

    private static String oneLine(String text) {
        return text.replaceAll("\\s*\\R\\s*", " ");
    }
}
