// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** An operation refused its operands or could not run. The message is one line: operation, what was given, what is allowed. */
public class GatunException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** Why an operation failed. */
    public enum Status {
        INVALID_ARGUMENT,
        UNSUPPORTED,
        OUT_OF_MEMORY,
        NO_DEVICE,
        INTERNAL;

        static Status of(int code) {
            return code >= 1 && code <= values().length ? values()[code - 1] : INTERNAL;
        }
    }

    private final Status status;
    private final String operation;

    public GatunException(Status status, String operation, String message) {
        super(operation + ": " + message);
        this.status = status;
        this.operation = operation;
    }

    public Status status() {
        return status;
    }

    /** Name of the operation, as in the C interface without its prefix. */
    public String operation() {
        return operation;
    }

    static GatunException invalid(String operation, String message) {
        return new GatunException(Status.INVALID_ARGUMENT, operation, message);
    }
}
