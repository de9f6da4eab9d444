// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.Set;

/** Turns the bytes of a file into an element. Safe from several threads at once. */
public interface Decoder {
    /** The endings of the file names that this decoder reads, in lower case and without the dot. */
    Set<String> extensions();

    /**
     * Decodes one file.
     *
     * @param bytes the whole file
     * @param where the file's name, for errors
     * @throws DataException if the bytes are broken, incomplete or of another format
     */
    Element decode(byte[] bytes, String where);
}
