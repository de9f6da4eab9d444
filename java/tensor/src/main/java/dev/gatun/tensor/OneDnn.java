// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.NativeLibrary;
import dev.gatun.primitives.Operand;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.net.URL;
import org.bytedeco.javacpp.Loader;

/**
 * oneDNN from its JavaCPP preset, which extracts the library; its {@code dnnl_sgemm} is then called by Gatun's own threads, a tile a call.
 *
 * <p>Chosen by measurement over OpenBLAS 0.3.31 (docs/gemm.md). Only the preset's library is used, not its JNI classes, which would want
 * OpenCL beside them. It links the OpenMP runtime by the name of the one that libgatun has brought already, so the process has one.
 */
final class OneDnn implements Gemm {
    private static final String RESOURCE = "/org/bytedeco/dnnl/" + Loader.getPlatform() + "/libdnnl.so.3";

    private static final class Library {
        static final MemorySegment SGEMM = load();

        private static MemorySegment load() {
            // libgatun and with it libgomp come first
            NativeLibrary.cpu();
            try {
                URL resource = Loader.class.getResource(RESOURCE);
                if (resource == null) {
                    resource = ClassLoader.getSystemResource(RESOURCE.substring(1));
                }
                if (resource == null) {
                    throw new TensorException("matrix products need org.bytedeco:dnnl with classifier " + Loader.getPlatform()
                            + " on the class or module path (on the module path with --add-modules ALL-MODULE-PATH)");
                }
                File file = Loader.cacheResource(resource);
                return dev.gatun.primitives.Gemm.sgemm(file.toPath());
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    @Override
    public String name() {
        return "oneDNN 3.11";
    }

    @Override
    public void multiply(GatunStream stream, float alpha, Operand a, Operand b, float beta, Operand c) {
        dev.gatun.primitives.Gemm.multiply(stream, Library.SGEMM, alpha, a, b, beta, c);
    }
}
