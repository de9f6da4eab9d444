// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class TensorTest {
    private Device device;
    private Scope scope;

    @BeforeEach
    void open() {
        device = Device.cpu(2);
        scope = device.scope();
    }

    @AfterEach
    void close() {
        device.close();
    }

    private Tensor count(long... shape) {
        int n = 1;
        for (long d : shape) {
            n *= (int) d;
        }
        float[] v = new float[n];
        for (int i = 0; i < n; i++) {
            v[i] = i;
        }
        return scope.of(v, shape);
    }

    @Test
    void viewsShareMemory() {
        Tensor x = count(2, 3, 4);
        Tensor y = x.slice(1, 1, 3);
        assertArrayEquals(new float[] {4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23}, y.toArray());
        assertArrayEquals(new long[] {12, 4, 1}, y.strides());
        y.fill(0);
        assertEquals(1 + 2 + 3 + 12 + 13 + 14 + 15, x.sum().item());
    }

    @Test
    void transposeAndReshape() {
        Tensor x = count(2, 3);
        assertArrayEquals(new float[] {0, 3, 1, 4, 2, 5}, x.transpose().toArray());
        assertArrayEquals(new float[] {0, 3, 1, 4, 2, 5}, x.transpose().reshape(6).toArray());
        Tensor qkv = count(2, 5, 3 * 2 * 4);
        Tensor k = qkv.reshape(2, 5, 3, 2, 4).slice(2, 1, 2).reshape(2, 5, 2, 4);
        assertEquals(qkv.segment().address() + 8 * 4, k.segment().address());
        assertArrayEquals(new long[] {120, 24, 4, 1}, k.strides());
        assertEquals(24 + 8 + 5, k.slice(0, 0, 1).slice(1, 1, 2).slice(2, 1, 2).toArray()[1]);
        assertArrayEquals(new long[] {2, 12}, count(2, 3, 4).reshape(2, -1).shape());
        assertThrows(TensorException.class, () -> x.reshape(4));
        assertThrows(TensorException.class, () -> x.reshape(-1, 4));
        assertThrows(TensorException.class, () -> x.slice(0, 1, 3));
    }

    @Test
    void reshapeOfAStridedViewCopiesOnlyWhenItMust() {
        Tensor x = count(4, 6);
        Tensor half = x.slice(1, 0, 3);
        Tensor split = half.reshape(2, 2, 3);
        assertEquals(x.segment().address(), split.segment().address());
        assertArrayEquals(half.toArray(), split.toArray());
        Tensor flat = half.reshape(12);
        assertTrue(flat.segment().address() != x.segment().address());
        assertArrayEquals(half.toArray(), flat.toArray());
        assertArrayEquals(new long[] {1, 4, 1, 3}, half.reshape(1, 4, 1, 3).shape());
        assertArrayEquals(half.toArray(), half.reshape(1, 4, 1, 3).toArray());
    }

    @Test
    void concatenates() {
        Tensor a = count(2, 2);
        Tensor b = scope.full(9, 2, 1);
        assertArrayEquals(new float[] {0, 1, 9, 2, 3, 9}, Tensor.concat(1, a, b).toArray());
        assertArrayEquals(new float[] {0, 1, 2, 3, 0, 1, 2, 3}, Tensor.concat(0, a, a).toArray());
        assertThrows(TensorException.class, () -> Tensor.concat(0, a, b));
    }

    @Test
    void broadcasts() {
        Tensor x = count(2, 3);
        assertArrayEquals(new float[] {10, 21, 32, 13, 24, 35}, x.add(scope.of(new float[] {10, 20, 30})).toArray());
        assertArrayEquals(new float[] {0, 1, 2, 6, 8, 10}, x.mul(scope.of(new float[] {1, 2}, 2, 1)).toArray());
        assertArrayEquals(new float[] {2, 3, 4, 5, 6, 7}, x.add(scope.full(2)).toArray());
        assertThrows(TensorException.class, () -> x.add(scope.zeros(2)));
    }

    @Test
    void reduces() {
        Tensor x = count(2, 3, 2);
        assertEquals(66, x.sum().item());
        assertEquals(5.5f, x.mean().item());
        assertArrayEquals(new float[] {6, 9, 24, 27}, x.sum(1).toArray());
        assertArrayEquals(new float[] {6, 8, 10, 12, 14, 16}, x.sum(0).toArray());
        assertArrayEquals(new float[] {1, 5, 9, 13, 17, 21}, x.sum(-1).toArray());
        assertArrayEquals(new float[] {2, 3, 8, 9}, x.mean(1).toArray());
    }

    @Test
    void multipliesMatricesOfAnyStrides() {
        Tensor x = count(3, 4);
        Tensor y = count(4, 2);
        float[] expected = {28, 34, 76, 98, 124, 162};
        assertArrayEquals(expected, x.matmul(y).toArray());
        assertArrayEquals(expected, x.matmulTransposed(y.transpose().contiguous()).toArray());
        assertArrayEquals(expected, x.matmulTransposed(y.transpose()).toArray());
        assertArrayEquals(expected, x.transpose().contiguous().transpose().matmul(y).toArray());
        Tensor wide = count(3, 8);
        assertArrayEquals(
                wide.slice(1, 2, 6).contiguous().matmul(y).toArray(), wide.slice(1, 2, 6).matmul(y).toArray());
        assertArrayEquals(new long[] {3, 1, 2}, x.reshape(3, 1, 4).matmul(y).shape());
        assertThrows(TensorException.class, () -> x.matmul(x));
        assertArrayEquals(new long[] {0, 2}, scope.zeros(0, 4).matmul(y).shape());
        assertArrayEquals(new float[] {0, 0}, scope.zeros(1, 0).matmul(scope.zeros(0, 2)).toArray());
    }

    @Test
    void theLibraryAgreesWithDoublesOnEveryTileShape() {
        for (long[] s : new long[][] {{700, 60, 90}, {64, 300, 500}, {270, 290, 130}}) {
            Tensor x = TapeTest.irregular(scope, -1, 1, s[0], s[2]);
            Tensor y = TapeTest.irregular(scope, -2, 1, s[2], s[1]);
            float[] a = x.toArray();
            float[] b = y.toArray();
            float[] got = x.matmul(y).toArray();
            for (int i = 0; i < s[0]; i += 7) {
                for (int j = 0; j < s[1]; j += 3) {
                    double sum = 0;
                    double size = 0;
                    for (int k = 0; k < s[2]; k++) {
                        double term = (double) a[i * (int) s[2] + k] * b[k * (int) s[1] + j];
                        sum += term;
                        size += Math.abs(term);
                    }
                    // one rounding a step, errors like a random walk
                    assertEquals(sum, got[i * (int) s[1] + j], size * Math.ulp(1f) * 4);
                }
            }
        }
    }

    @Test
    void productsHaveTheSameBitsForAnyNumberOfThreads() {
        float[] first = null;
        for (int threads = 1; threads <= 3; threads++) {
            try (Device other = Device.cpu(threads)) {
                Tensor x = TapeTest.irregular(other.scope(), -1, 1, 1000, 64);
                Tensor y = TapeTest.irregular(other.scope(), -2, 1, 200, 64);
                float[] got = x.matmulTransposed(y).toArray();
                if (first == null) {
                    first = got;
                }
                assertArrayEquals(first, got);
            }
        }
    }

    @Test
    void oneOpenMpRuntimeInTheProcess() throws java.io.IOException {
        scope.zeros(4, 4).matmul(scope.zeros(4, 4)).exp();
        long runtimes = java.nio.file.Files.readAllLines(java.nio.file.Path.of("/proc/self/maps")).stream()
                .filter(line -> line.matches(".*lib(gomp|omp|iomp5)[.].*"))
                .map(line -> line.substring(line.indexOf('/')))
                .distinct()
                .count();
        assertEquals(1, runtimes);
    }

    @Test
    void finiteSeesNaNAndInfinity() {
        assertTrue(scope.of(new float[] {1, -2, 3e38f}).finite());
        assertFalse(scope.of(new float[] {1, Float.NaN}).finite());
        assertFalse(scope.of(new float[] {Float.NEGATIVE_INFINITY}).finite());
    }

    @Test
    void badShapesAreNamed() {
        assertThrows(TensorException.class, () -> scope.empty(1, 1, 1, 1, 1, 1));
        assertThrows(TensorException.class, () -> scope.empty(-1));
        assertThrows(TensorException.class, () -> scope.empty(Long.MAX_VALUE, 3));
        assertThrows(TensorException.class, () -> scope.of(new float[3], 2, 2));
        assertThrows(TensorException.class, () -> scope.zeros(2).item());
        assertThrows(TensorException.class, () -> scope.ofInts(new int[] {1}).toArray());
        assertThrows(TensorException.class, () -> scope.zeros(2).copyFrom(scope.zeros(3)));
    }

    @Test
    void neighboursAreOneTensorWithoutACopy() {
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            Tensor all = scope.of(new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 5, 2);
            Tensor middle = Tensor.adjacent(all.slice(0, 1, 2), all.slice(0, 2, 4)).orElseThrow();
            assertArrayEquals(new long[] {3, 2}, middle.shape());
            assertArrayEquals(new float[] {2, 3, 4, 5, 6, 7}, middle.toArray());
            assertEquals(all.segment().address() + 2 * Float.BYTES, middle.segment().address());
            assertTrue(Tensor.adjacent(all.slice(0, 2, 3), all.slice(0, 1, 2)).isEmpty());
            assertTrue(Tensor.adjacent(all.slice(0, 0, 1), all.slice(0, 2, 3)).isEmpty());
            assertTrue(Tensor.adjacent(all.slice(1, 0, 1), all.slice(1, 1, 2)).isEmpty());
            assertTrue(Tensor.adjacent(all.slice(0, 0, 1), scope.zeros(1, 2)).isEmpty());
            assertTrue(Tensor.adjacent(all.slice(0, 0, 1), all.slice(0, 1, 2).reshape(2, 1)).isEmpty());
            Tensor watched = Tape.on(scope).watch(all);
            assertTrue(Tensor.adjacent(watched.slice(0, 0, 1), watched.slice(0, 1, 2)).isEmpty());
        }
    }
}
