// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

/** A use of tensors that cannot be carried out: shapes that do not fit, a tensor used after its scope was closed, a mixed tape. */
public final class TensorException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** @param message one line for a person: the operation, what was given, what is allowed */
    public TensorException(String message) {
        super(message);
    }

    TensorException(String message, Throwable cause) {
        super(message, cause);
    }
}
