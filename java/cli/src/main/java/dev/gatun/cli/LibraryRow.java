// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Random;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.ConvolutionLibrary;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * Work that Gatun's kernels and NVIDIA's libraries both do.
 *
 * @param operation {@code gemm} or {@code convolution}
 * @param sizes gemm: rows, outputs, inputs; convolution: batch, size, channels, outputs, kernel, stride, padding
 * @param pass forward (a gemm's with its bias), backward_data or backward_weights (a gemm's is added to an f32 buffer)
 */
record LibraryRow(String operation, List<Integer> sizes, DType dtype, String pass) {
    static final String GEMM = "gemm";
    static final String CONVOLUTION = "convolution";

    private static final List<String> PASSES = List.of("forward", "backward_data", "backward_weights");

    /** ViT-S/16 on 128 images of 224², SwAV's prototypes, a square; then the layers of ResNet-50 on 64 images of 224². */
    private static final int[][] PRODUCTS = {
        {25216, 1152, 384}, {25216, 384, 384}, {25216, 1536, 384}, {25216, 384, 1536}, {1024, 3000, 128}, {8192, 8192, 8192}
    };

    private static final int[][] LAYERS = {
        {64, 224, 3, 64, 7, 2, 3}, {64, 56, 64, 64, 3, 1, 1}, {64, 56, 256, 64, 1, 1, 0}, {64, 28, 128, 128, 3, 1, 1}, {64, 14, 256, 256, 3, 1, 1},
        {64, 7, 512, 512, 3, 1, 1}
    };

    /** Every row, or of each kind a small one. */
    static List<LibraryRow> all(boolean small) {
        List<LibraryRow> rows = new ArrayList<>();
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            for (int[] sizes : small ? new int[][] {{64, 48, 32}} : PRODUCTS) {
                add(rows, GEMM, sizes, dtype);
            }
            for (int[] sizes : small ? new int[][] {{2, 8, 8, 8, 3, 1, 1}} : LAYERS) {
                add(rows, CONVOLUTION, sizes, dtype);
            }
        }
        return rows;
    }

    private static void add(List<LibraryRow> rows, String operation, int[] sizes, DType dtype) {
        PASSES.forEach(pass -> rows.add(new LibraryRow(operation, Arrays.stream(sizes).boxed().toList(), dtype, pass)));
    }

    String shape() {
        return sizes.stream().map(String::valueOf).collect(Collectors.joining("x"));
    }

    private Geometry geometry() {
        return Geometry.of(sizes.get(5), sizes.get(6));
    }

    private long outputs() {
        return geometry().outputHeight(sizes.get(1), sizes.get(4));
    }

    /** Multiplications and additions. */
    double flops() {
        if (operation.equals(GEMM)) {
            return 2.0 * sizes.get(0) * sizes.get(1) * sizes.get(2);
        }
        return 2.0 * sizes.get(0) * outputs() * outputs() * sizes.get(3) * sizes.get(2) * sizes.get(4) * sizes.get(4);
    }

    /** The work on a device, with operands of its own in {@code scope}. */
    Runnable work(Device device, Scope scope) {
        return operation.equals(GEMM) ? product(device, scope) : convolution(device, scope);
    }

    private Tensor random(Device device, Scope scope, int stream, long... shape) {
        Tensor values = scope.empty(shape);
        MemorySegment key = scope.key(new RandomKey(1, 0, stream));
        Random.normal(device.stream(), key, Operand.NONE, 0, values.operand(), 0, 1);
        return values.to(dtype);
    }

    private Runnable product(Device device, Scope scope) {
        Tensor x = random(device, scope, 1, sizes.get(0), sizes.get(2));
        Tensor w = random(device, scope, 2, sizes.get(1), sizes.get(2));
        Tensor b = random(device, scope, 3, sizes.get(1));
        Tensor dy = random(device, scope, 4, sizes.get(0), sizes.get(1));
        Tensor sum = scope.zeros(sizes.get(1), sizes.get(2));
        Operand left = dy.transpose().operand();
        return switch (pass) {
            case "forward" -> inside(scope, work -> work.attach(x).linear(w, b));
            case "backward_data" -> inside(scope, work -> work.attach(dy).matmul(w));
            default -> () -> device.gemm().multiply(device.stream(), 1f, left, x.operand(), 1f, sum.operand());
        };
    }

    /** What is computed goes back to the device's memory at once, as in a step. */
    private static Runnable inside(Scope scope, Consumer<Scope> call) {
        return () -> {
            try (Scope work = scope.open()) {
                call.accept(work);
            }
        };
    }

    private Runnable convolution(Device device, Scope scope) {
        Geometry g = geometry();
        ConvolutionLibrary library = device.convolution();
        var stream = device.stream();
        long[] image = {sizes.get(0), sizes.get(1), sizes.get(1), sizes.get(2)};
        long[] kernel = {sizes.get(3), sizes.get(4), sizes.get(4), sizes.get(2)};
        Operand x = random(device, scope, 1, image).operand();
        Operand w = random(device, scope, 2, kernel).operand();
        Operand y = random(device, scope, 3, sizes.get(0), outputs(), outputs(), sizes.get(3)).operand();
        switch (pass) {
            case "forward" -> {
                MemorySegment work = scope.workspace(library.forwardWorkspace(stream, x, w, Operand.NONE, y, g));
                return () -> library.forward(stream, x, w, Operand.NONE, y, g, work);
            }
            case "backward_data" -> {
                Operand dx = scope.empty(dtype, image).operand();
                MemorySegment work = scope.workspace(library.backwardDataWorkspace(stream, y, w, dx, g));
                return () -> library.backwardData(stream, y, w, dx, g, false, work);
            }
            default -> {
                Operand dw = scope.empty(kernel).operand();
                MemorySegment work = scope.workspace(library.backwardWeightsWorkspace(stream, x, y, dw, Operand.NONE, g));
                return () -> library.backwardWeights(stream, x, y, dw, Operand.NONE, g, false, work);
            }
        }
    }
}
