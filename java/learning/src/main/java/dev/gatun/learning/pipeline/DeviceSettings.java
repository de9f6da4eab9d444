// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import dev.gatun.tensor.CudaSettings;
import dev.gatun.tensor.Device;

/**
 * The {@code device} section.
 *
 * @param name {@code cpu}, {@code cuda} (or {@code cuda:1}, the second) or {@code emulated}
 * @param threads how many threads the host's work takes; 0 = one a processor. Written resolved, so that a run's file reproduces it
 * @param capture whether a step is recorded once and then launched as a whole, on a device that can; a method whose step does not allow it
 *     is computed operation by operation, which is said
 * @param gemm whose matrix products: {@code library} (oneDNN on the CPU, cuBLASLt on a CUDA device) or on a CUDA device {@code gatun}, the
 *     kernel that needs no library. The emulated device has the kernel only
 * @param tf32 whether NVIDIA's libraries may round f32 operands to TF32, which has 10 bits of fraction; CUDA devices only
 * @param convolution whose convolutions: {@code gatun} or on a CUDA device {@code cudnn}
 * @param memoryMib MiB that the run may take of the device at most, its cache included; 0 = as many as there are
 */
public record DeviceSettings(
        String name, int threads, boolean capture, Products gemm, boolean tf32, CudaSettings.Convolutions convolution, int memoryMib) {
    /** Whose matrix products. */
    public enum Products {
        /** The device's library. */
        LIBRARY,
        /** Gatun's own kernel. */
        GATUN
    }

    /** The CPU with every processor. */
    public DeviceSettings() {
        this("cpu", 0, true);
    }

    /** With the device's library of products, without TF32, with Gatun's convolutions, without a limit. */
    public DeviceSettings(String name, int threads, boolean capture) {
        this(name, threads, capture, Products.LIBRARY, false, CudaSettings.Convolutions.GATUN, 0);
    }

    /** Checks the values and resolves 0 threads. */
    public DeviceSettings {
        if (!name.matches("cpu|emulated|cuda(:\\d{1,3})?")) {
            throw new IllegalArgumentException("name: no device " + name + "; known devices: cpu, cuda, cuda:N, emulated");
        }
        if (threads < 0 || threads > 1024) {
            throw new IllegalArgumentException("threads: expected 0 to 1024, got " + threads);
        }
        if (gemm == Products.GATUN && name.equals("cpu")) {
            throw new IllegalArgumentException("gemm: gatun is the kernel of CUDA devices; the cpu has the library oneDNN");
        }
        boolean cuda = name.startsWith("cuda");
        boolean cudnn = convolution == CudaSettings.Convolutions.CUDNN;
        if (cudnn && !cuda) {
            throw new IllegalArgumentException("convolution: cudnn is for cuda devices, the device is " + name);
        }
        if (tf32 && (!cuda || gemm != Products.LIBRARY && !cudnn)) {
            throw new IllegalArgumentException("tf32: only the libraries of a cuda device round to TF32");
        }
        if (memoryMib < 0) {
            throw new IllegalArgumentException("memory_mib: expected 0 (no limit) or more, got " + memoryMib);
        }
        threads = threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
    }

    /** Whose rounding it has, in words: two runs that differ in it differ in their bits. */
    String arithmetic() {
        if (!name.startsWith("cuda")) {
            return name;
        }
        return "cuda" + (gemm == Products.GATUN ? " with gatun's products" : "")
                + (convolution == CudaSettings.Convolutions.CUDNN ? " with cudnn's convolutions" : "")
                + (tf32 ? " in tf32" : "");
    }

    /**
     * Opens the device.
     *
     * @throws dev.gatun.primitives.GatunException NO_DEVICE where this machine has none, or not the library that it needs; one line
     */
    public Device open() {
        long limit = (long) memoryMib << 20;
        return switch (name) {
            case "cpu" -> Device.cpu(threads, limit);
            case "emulated" -> Device.emulated(limit);
            default -> Device.cuda(
                    name.contains(":") ? Integer.parseInt(name.substring(name.indexOf(':') + 1)) : 0,
                    new CudaSettings(
                            gemm == Products.GATUN ? CudaSettings.Products.GATUN : CudaSettings.Products.CUBLASLT, tf32, convolution),
                    limit);
        };
    }
}
