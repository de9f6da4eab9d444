// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** An operation refused its operands or could not run. The message is one line: operation, what was given, what is allowed. */
public class GatunException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** Why an operation failed. */
    public enum Status {
        /** A shape, stride, dtype, pointer or constant that the operation does not allow. */
        INVALID_ARGUMENT,
        /** Allowed in general, but not on this device. */
        UNSUPPORTED,
        /** The device has not that much memory. */
        OUT_OF_MEMORY,
        /** The library cannot be loaded, or is for a device that this machine does not have. */
        NO_DEVICE,
        /** A defect in Gatun. */
        INTERNAL;

        static Status of(int code) {
            return code >= 1 && code <= values().length ? values()[code - 1] : INTERNAL;
        }
    }

    private final Status status;
    private final String operation;

    /**
     * A failure of an operation.
     *
     * @param operation as in the C interface without its prefix, for example {@code sinkhorn}
     * @param message one line: what was given and what is allowed
     */
    public GatunException(Status status, String operation, String message) {
        super(operation + ": " + message);
        this.status = status;
        this.operation = operation;
    }

    /** Why it failed. */
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
