// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** The call itself, with a kernel written here; a real library is tested where one is loaded. */
class GemmTest {
    /** The naive product behind the signature of dnnl_sgemm. */
    static int sgemm(
            byte transposeA,
            byte transposeB,
            long m,
            long n,
            long k,
            float alpha,
            MemorySegment a,
            long lda,
            MemorySegment b,
            long ldb,
            float beta,
            MemorySegment c,
            long ldc) {
        MemorySegment all = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int p = 0; p < k; p++) {
                    sum += (double) at(all, a, transposeA == 'T' ? p * lda + i : i * lda + p)
                            * at(all, b, transposeB == 'T' ? j * ldb + p : p * ldb + j);
                }
                float old = beta == 0 ? 0 : beta * at(all, c, i * ldc + j);
                all.set(ValueLayout.JAVA_FLOAT, c.address() + 4L * (i * ldc + j), (float) (alpha * sum + old));
            }
        }
        return 0;
    }

    private static float at(MemorySegment all, MemorySegment start, long index) {
        return all.get(ValueLayout.JAVA_FLOAT, start.address() + 4L * index);
    }

    private static MemorySegment function(Arena arena) throws ReflectiveOperationException {
        return Linker.nativeLinker()
                .upcallStub(
                        MethodHandles.lookup()
                                .findStatic(
                                        GemmTest.class,
                                        "sgemm",
                                        MethodType.methodType(
                                                int.class, byte.class, byte.class, long.class, long.class, long.class, float.class,
                                                MemorySegment.class, long.class, MemorySegment.class, long.class, float.class,
                                                MemorySegment.class, long.class)),
                        FunctionDescriptor.of(
                                ValueLayout.JAVA_INT, ValueLayout.JAVA_BYTE, ValueLayout.JAVA_BYTE, ValueLayout.JAVA_LONG,
                                ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_FLOAT, ValueLayout.ADDRESS,
                                ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_FLOAT,
                                ValueLayout.ADDRESS, ValueLayout.JAVA_LONG),
                        arena);
    }

    @Test
    void multipliesViewsAndAccumulates() throws ReflectiveOperationException {
        try (Native device = new Native(1)) {
            MemorySegment sgemm = function(device.arena);
            Operand a = device.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
            Operand b = device.of(new float[] {1, 0, 2, 0, 1, 1}, 3, 2);
            Operand c = device.of(new float[] {100, 100, 100, 100}, 2, 2);
            Gemm.multiply(device.stream, sgemm, 1, a, b, 0, c);
            assertArrayEquals(new float[] {8, 3, 20, 6}, Native.floats(c));
            // both operands as transposed views of each other's shape: (bᵀ is 2x3) · (aᵀ is 3x2) = (a·b)ᵀ
            Operand bt = new Operand(b.segment(), Layout.strided(DType.F32, new long[] {2, 3}, new long[] {1, 2}));
            Operand at = new Operand(a.segment(), Layout.strided(DType.F32, new long[] {3, 2}, new long[] {1, 3}));
            Gemm.multiply(device.stream, sgemm, 2, bt, at, 1, c);
            assertArrayEquals(new float[] {24, 43, 26, 18}, Native.floats(c));
        }
    }

    @Test
    void badOperandsAreRefused() throws ReflectiveOperationException {
        try (Native device = new Native(1)) {
            MemorySegment sgemm = function(device.arena);
            Operand a = device.empty(DType.F32, 2, 3);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> Gemm.multiply(device.stream, sgemm, 1, a, a, 0, device.empty(DType.F32, 2, 2)));
            assertTrue(e.getMessage().contains("b has shape (2, 3), expected (3, 3)"), e.getMessage());
            assertThrows(
                    GatunException.class,
                    () -> Gemm.multiply(
                            device.stream, MemorySegment.NULL, 1, a, device.empty(DType.F32, 3, 2), 0, device.empty(DType.F32, 2, 2)));
        }
    }

    @Test
    void aMissingLibraryIsNamed() {
        GatunException e = assertThrows(GatunException.class, () -> Gemm.sgemm(Path.of("/nonexistent/libblas.so")));
        assertEquals(GatunException.Status.UNSUPPORTED, e.status());
        assertTrue(e.getMessage().contains("/nonexistent/libblas.so"), e.getMessage());
    }
}
