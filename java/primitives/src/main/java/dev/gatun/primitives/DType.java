// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** Element types of operands. Storage types only: arithmetic accumulates in f32 or wider. */
public enum DType {
    F32(1, 4, "f32"),
    BF16(2, 2, "bf16"),
    F16(3, 2, "f16"),
    I32(4, 4, "i32"),
    I64(5, 8, "i64"),
    U8(6, 1, "u8");

    private final int code;
    private final int bytes;
    private final String label;

    DType(int code, int bytes, String label) {
        this.code = code;
        this.bytes = bytes;
        this.label = label;
    }

    /** The value of {@code dtype} in the C interface. */
    public int code() {
        return code;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }

    @Override
    public String toString() {
        return label;
    }
}
