// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

/**
 * What one view of a batch is for.
 *
 * @param role {@code "global"} or {@code "local"}
 * @param size the side of the view in pixels
 */
public record ViewRole(String role, int size) {
    /** Checks the role and the size. */
    public ViewRole {
        if (!role.equals("global") && !role.equals("local")) {
            throw new IllegalArgumentException("a view's role is global or local, not " + role);
        }
        if (size < 1) {
            throw new IllegalArgumentException("a view's size is at least 1, not " + size);
        }
    }
}
