// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

/**
 * What a CUDA device computes products and convolutions with. A choice is kept to: what is missing is an error when the device is opened.
 *
 * @param gemm the library of products
 * @param tf32 whether NVIDIA's libraries may round f32 operands to TF32, which has 10 bits of fraction. Products of bf16 and f16 do not change
 * @param convolution whose convolutions
 */
public record CudaSettings(Products gemm, boolean tf32, Convolutions convolution) {
    /** Libraries of products. */
    public enum Products {
        /** cuBLASLt of the installed CUDA 13. */
        CUBLASLT,
        /** Gatun's own kernel, which needs nothing else and is slower. */
        GATUN
    }

    /** Who convolves. */
    public enum Convolutions {
        /** Gatun's own kernels. */
        GATUN,
        /** cuDNN 9, for comparison. */
        CUDNN
    }

    /** cuBLASLt without TF32, Gatun's convolutions. */
    public static final CudaSettings DEFAULT = new CudaSettings(Products.CUBLASLT, false, Convolutions.GATUN);

    /** @throws TensorException if TF32 is asked of Gatun's own kernels only */
    public CudaSettings {
        if (tf32 && gemm != Products.CUBLASLT && convolution != Convolutions.CUDNN) {
            throw new TensorException("tf32: only NVIDIA's libraries round to TF32; Gatun's own kernels multiply f32 as it is");
        }
    }

    /** The same with another library of products. */
    public CudaSettings withGemm(Products library) {
        return new CudaSettings(library, tf32, convolution);
    }

    /** The same with or without TF32. */
    public CudaSettings withTf32(boolean allowed) {
        return new CudaSettings(gemm, allowed, convolution);
    }

    /** The same with other convolutions. */
    public CudaSettings withConvolution(Convolutions library) {
        return new CudaSettings(gemm, tf32, library);
    }
}
