// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** Element types of operands. Storage types only: arithmetic accumulates in f32 or wider. */
public enum DType {
    /** IEEE single precision: the one that CPU kernels compute in. */
    F32(1, 4, "f32"),
    /** The upper half of an {@link #F32}: 8 bits of exponent, 7 of fraction. */
    BF16(2, 2, "bf16"),
    /** IEEE half precision. */
    F16(3, 2, "f16"),
    /** Signed 32-bit integers: indices, labels. */
    I32(4, 4, "i32"),
    /** Signed 64-bit integers: sample ids, offsets, counts. */
    I64(5, 8, "i64"),
    /** Bytes: images, flags, workspaces. */
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

    /** Whether it is one of the floating types: f32, bf16, f16. */
    public boolean floating() {
        return this == F32 || this == BF16 || this == F16;
    }

    @Override
    public String toString() {
        return label;
    }
}
