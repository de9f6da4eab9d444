// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * What one more block keeps for backward is at most what PyTorch's graph keeps of the same block; docs/steps.md has the counts. Sizes are
 * such that every tensor fills its class of the allocator, where not said otherwise.
 */
class ActivationMemoryTest {
    private static final int WIDTH = 128;
    private static final int HEADS = 4;
    private static final int TOKENS = 10;

    private static long kept(Device device, DType precision, VitSettings settings, int batch) {
        return kept(device, precision, parameters -> new VitProvider().create(settings, parameters, new long[] {24, 24, 3}), batch, 24, 3);
    }

    private static long kept(
            Device device, DType precision, java.util.function.Function<Parameters, Encoder> maker, int batch, int side, int channels) {
        Parameters parameters = Parameters.create();
        Encoder encoder = maker.apply(parameters);
        parameters.build(device, 1);
        try (Scope scope = device.scope().open()) {
            Tensor images = scope.full(.5f, batch, side, side, channels).to(precision);
            Pass pass = Pass.training(Tape.on(scope), new RandomKey(1, 2, 3)).withPrecision(precision);
            pass.samples(batch);
            long before = device.liveBytes();
            encoder.forward(pass, images);
            return device.liveBytes() - before;
        }
    }

    private static VitSettings vit(int depth, double rate, String form, String blocks) {
        return new VitSettings(8, WIDTH, depth, HEADS, 4, "token", rate, "uniform", form, 0, blocks);
    }

    private static long block(Device device, DType precision, int batch, double rate, String form, String blocks) {
        return (kept(device, precision, vit(3, rate, form, blocks), batch) - kept(device, precision, vit(1, rate, form, blocks), batch)) / 2;
    }

    /** Two layer norms' means and deviations, attention's log-sum-exp, and the kept samples of two residuals. */
    private static long small(int rows, int batch) {
        return 4L * rows * TOKENS * Float.BYTES + (long) rows * TOKENS * HEADS * Float.BYTES + 2L * batch * Float.BYTES;
    }

    @Test
    void aVitBlockKeepsWhatPyTorchKeeps() {
        int batch = 256;
        long row = (long) TOKENS * WIDTH * Float.BYTES;
        try (Device device = Device.cpu(1)) {
            // two inputs of norms, two outputs, q k v, attention, fc1 and its GELU of four times the width
            assertAtMost(16 * row * batch + small(batch, batch), block(device, DType.F32, batch, 0, "mask", "composed"));
            assertAtMost(16 * row * batch + small(batch, batch), block(device, DType.F32, batch, .5, "mask", "composed"));
            // all of it of the subset only
            int some = batch / 2;
            assertAtMost(16 * row * some + small(some, batch), block(device, DType.F32, batch, .5, "subset", "composed"));
        }
    }

    @Test
    void aFusedVitBlockKeepsTenOfPyTorchsSixteen() {
        int batch = 256;
        long row = (long) TOKENS * WIDTH * Float.BYTES;
        try (Device device = Device.cpu(1)) {
            // two inputs of norms, q k v, attention, fc1
            assertAtMost(10 * row * batch + small(batch, batch), block(device, DType.F32, batch, 0, "mask", "fused"));
            // which samples a mask drops is not known when memory is taken
            assertAtMost(10 * row * batch + small(batch, batch), block(device, DType.F32, batch, .5, "mask", "fused"));
            int some = batch / 2;
            assertAtMost(10 * row * some + small(some, batch), block(device, DType.F32, batch, .5, "subset", "fused"));
        }
    }

    @Test
    void aVitBlockInBf16KeepsLessThanUnderAutocast() {
        int batch = 8;
        long row = (long) TOKENS * WIDTH * 2;
        try (Device device = Device.emulated()) {
            // twice the batch, so that the weights' copy in bf16, which both have, does not count. Autocast keeps the sums behind the residuals
            // in f32; here q k v do not fill their class
            long more = block(device, DType.BF16, 2 * batch, 0, "mask", "fused") - block(device, DType.BF16, batch, 0, "mask", "fused");
            assertAtMost((14 + 2 * 2) * row * batch + small(batch, batch), more);
        }
    }

    @Test
    void aBottleneckKeepsItsConvolutionsAndItsEnd() {
        int batch = 128;
        int width = 16;
        long image = 8L * 8 * width * Float.BYTES * batch;
        try (Device device = Device.cpu(1)) {
            long[] of = new long[2];
            for (int i = 0; i < 2; i++) {
                var settings = new ResNetSettings(
                        "bottleneck", List.of(2 + 2 * i), List.of(width), "small", false, 0, "uniform", "mask", false, 0);
                of[i] = kept(device, DType.F32, parameters -> new ResNetProvider().create(settings, parameters, new long[] {8, 8, 3}), batch, 8, 3);
            }
            // three convolutions' outputs and the last ReLU's, each last of four times the width, where PyTorch keeps 12; statistics of nine sizes of
            // at most 256 bytes
            assertAtMost(10 * image + 9 * 256, (of[1] - of[0]) / 2);
        }
    }

    private static void assertAtMost(long bound, long kept) {
        assertTrue(kept <= bound, kept + " bytes instead of at most " + bound);
        // else nothing was counted
        assertTrue(kept > bound / 2, kept + " bytes of " + bound);
    }
}
