// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

/**
 * What a CUDA device multiplies with. A choice is kept to: what is missing is an error when the device is opened.
 *
 * @param gemm the library of products
 * @param tf32 whether cuBLASLt may round f32 operands to TF32, which has 10 bits of fraction. Products of bf16 and f16 do not change
 */
public record CudaSettings(Products gemm, boolean tf32) {
    /** Libraries of products. */
    public enum Products {
        /** cuBLASLt of the installed CUDA 13. */
        CUBLASLT,
        /** Gatun's own kernel, which needs nothing else and is slower. */
        GATUN
    }

    /** cuBLASLt, without TF32. */
    public static final CudaSettings DEFAULT = new CudaSettings(Products.CUBLASLT, false);

    /** @throws TensorException if TF32 is asked of Gatun's own kernel */
    public CudaSettings {
        if (tf32 && gemm != Products.CUBLASLT) {
            throw new TensorException("tf32: only cuBLASLt rounds to TF32; Gatun's own kernel multiplies f32 as it is");
        }
    }

    /** The same with another library of products. */
    public CudaSettings withGemm(Products library) {
        return new CudaSettings(library, tf32);
    }
}
