// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;

/** The product of Gatun's own CUDA kernel, on a device where no library is. */
final class KernelGemm implements Gemm {
    @Override
    public String name() {
        return "Gatun's own kernel";
    }

    @Override
    public void multiply(GatunStream stream, float alpha, Operand a, Operand b, float beta, Operand c) {
        dev.gatun.primitives.Gemm.multiply(stream, MemorySegment.NULL, alpha, a, b, beta, c);
    }
}
