// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.layer.Pass;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Casts, and a tape of tensors of several floating types. */
class CastTest {
    // between 1 and 1 + 2⁻⁷, its neighbour in bf16
    private static final float FINE = 1 + 0x1p-12f;

    private Device device;
    private Scope scope;

    @BeforeEach
    void open() {
        device = Device.emulated();
        scope = device.scope();
    }

    @AfterEach
    void close() {
        device.close();
    }

    private Tensor half(float... values) {
        return scope.of(values).to(DType.BF16);
    }

    @Test
    void valuesAreRoundedOnceAndGradientsCastBack() {
        Tensor x = scope.of(new float[] {FINE, 3, -1e30f, 1 + 0x1p-8f, 1 + 3 * 0x1p-8f});
        assertSame(x, x.to(DType.F32));
        assertSame(x, x.toFloat());
        Tensor y = x.to(DType.BF16);
        assertEquals(DType.BF16, y.dtype());
        float large = Float.intBitsToFloat(Float.floatToIntBits(-1e30f) + 0x8000 & 0xffff0000);
        // halfway goes to the even neighbour
        assertArrayEquals(new float[] {1, 3, large, 1, 1 + 0x1p-6f}, y.toFloat().toArray());
        assertEquals(DType.F16, y.to(DType.F16).dtype());

        Tape tape = Tape.on(scope.open());
        Tensor w = tape.watch(scope.of(new float[] {1, 2}));
        tape.backward(w.to(DType.BF16).to(DType.F32), scope.of(new float[] {FINE, 5}));
        // on its way through bf16 the gradient is rounded
        assertArrayEquals(new float[] {1, 5}, tape.gradient(w).toArray());
    }

    @Test
    void gradientsOfWatchedTensorsAreAddedUpInF32() {
        Tape tape = Tape.on(scope.open());
        Tensor buffer = scope.of(new float[] {1, 1});
        Tensor w = tape.watch(half(1, 2), buffer);
        Tensor free = tape.watch(half(1, 2));
        Tensor tiny = half(0x1p-12f, 0x1p-12f);
        // two uses, two sweeps
        for (int i = 0; i < 2; i++) {
            tape.backward(w.mul(tiny).add(w.mul(tiny)).add(free).to(DType.F32).sum());
        }
        assertArrayEquals(new float[] {1 + 0x1p-10f, 1 + 0x1p-10f}, buffer.toArray());
        assertEquals(DType.F32, tape.gradient(free).dtype());
        assertArrayEquals(new float[] {2, 2}, tape.gradient(free).toArray());
        Tensor unused = tape.watch(half(1));
        assertArrayEquals(new float[] {0}, tape.gradient(unused).toArray());

        // a product adds to the f32 buffer what bf16 could not hold
        Tensor gw = scope.full(1, 1, 2);
        Tensor wide = tape.watch(half(1, 1).reshape(1, 2), gw);
        tape.backward(half(0x1p-12f, 0).reshape(1, 2).matmulTransposed(wide).to(DType.F32).sum());
        assertArrayEquals(new float[] {FINE, 1}, gw.toArray());

        // and a sum over rows keeps what each adds
        Tensor bias = tape.watch(half(0));
        tape.backward(scope.of(new float[300]).reshape(300, 1).to(DType.BF16).add(bias).to(DType.F32).sum());
        assertArrayEquals(new float[] {300}, tape.gradient(bias).toArray());
        assertEquals(257, Math.round(scope.full(1, 257).to(DType.BF16).toFloat().sum().item()));
    }

    @Test
    void gradientsBetweenHaveTheValuesDtype() {
        Tape tape = Tape.on(scope.open());
        Tensor w = tape.watch(half(1, 2));
        Tensor inner = w.mul(half(3, 3));
        List<Tensor> gradients = tape.gradients(inner.to(DType.F32).square().sum(), List.of(inner, w), false);
        assertEquals(DType.BF16, gradients.get(0).dtype());
        assertEquals(DType.F32, gradients.get(1).dtype());
        assertArrayEquals(new float[] {6, 12}, gradients.get(0).toFloat().toArray());
        assertArrayEquals(new float[] {18, 36}, gradients.get(1).toArray());

        Tensor again = tape.gradients(inner.to(DType.F32).square().sum(), List.of(w), true).getFirst();
        tape.backward(again.sum());
        assertArrayEquals(new float[] {18, 18}, tape.gradient(w).toArray());
    }

    @Test
    void whatIsNotFiniteIsFoundInEveryType() {
        assertTrue(half(1, 3e38f).finite());
        assertFalse(half(1, Float.NaN).finite());
        Tape tape = Tape.on(scope.open());
        Tensor w = tape.watch(half(0, 1));
        tape.checkFinite(true);
        assertThrows(TensorException.class, w::log);
        assertArrayEquals(new float[] {2.5f, 2.5f}, half(0, 1).fill(2.5f).toFloat().toArray());
    }

    /** An operation whose gradient has another type than its input. */
    private record Confused() implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            return in[0].mul(2);
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {c.empty(g[0].shape()).fill(0)};
        }
    }

    @Test
    void nothingIsConvertedUnasked() {
        Tensor x = scope.of(new float[] {1, 2});
        assertEquals("add: f32(2) and bf16(2) are not of one dtype; to(...) casts", message(() -> x.add(half(1, 2))));
        assertTrue(message(() -> x.copyFrom(half(1, 2))).startsWith("copyFrom"));
        assertTrue(message(() -> scope.ofInts(new int[1]).to(DType.BF16)).contains("casts are between f32, bf16 and f16, given i32"));
        assertTrue(message(() -> x.to(DType.U8)).startsWith("to u8"));
        assertThrows(TensorException.class, () -> half(1).toArray());
        Tape tape = Tape.on(scope.open());
        assertTrue(message(() -> tape.watch(scope.ofInts(new int[1]))).contains("only f32, bf16 and f16"));
        assertTrue(message(() -> tape.watch(x, half(1, 2))).contains("a gradient buffer bf16"));
        Tensor inner = tape.watch(half(1, 2)).mul(2);
        Tensor confused = Function.apply(new Confused(), inner).to(DType.F32).sum();
        assertTrue(message(() -> tape.backward(confused)).contains("backward gave f32(2) for input 0, bf16(2)"));
        assertTrue(message(() -> tape.backward(inner, x)).contains("a gradient f32(2) for bf16(2)"));
    }

    @Test
    void aCpuSaysWhichDevicesComputeInBf16() {
        try (Device cpu = Device.cpu(1)) {
            String expected = "the device cpu has no arithmetic in bf16; cuda and emulated have";
            assertEquals(expected, message(() -> cpu.scope().zeros(2).to(DType.BF16)));
            assertEquals(expected, message(() -> cpu.scope().empty(DType.BF16, 2).to(DType.F32)));
            assertEquals(expected, message(() -> Pass.inference(cpu.scope()).withPrecision(DType.BF16)));
        }
    }

    private static String message(org.junit.jupiter.api.function.Executable call) {
        return assertThrows(TensorException.class, call).getMessage();
    }
}
