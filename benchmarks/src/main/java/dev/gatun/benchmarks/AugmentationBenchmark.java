// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Augmentation;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.RandomKey;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Param;

/** Views of stored images: crop and flip, or the whole protocol of SwAV and BYOL. Every image draws its own; PyTorch has no such operation for a batch, so ours
 * stands beside the ceiling alone. */
public class AugmentationBenchmark extends Comparison {
    /** Views, height and width of the stored image, channels, side of the view. */
    @Param({"512x28x28x1x28", "16x256x256x3x224"})
    public String shape;

    @Param({"cropAndFlip", "protocol"})
    public String pass;

    private long step;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] s = Shapes.parse(shape);
        Operand values = device.empty(DType.U8, s[0], s[1], s[2], s[3]);
        byte[] pixels = new byte[(int) values.layout().elements()];
        new SplittableRandom(1).nextBytes(pixels);
        MemorySegment.copy(pixels, 0, values.segment(), ValueLayout.JAVA_BYTE, 0, pixels.length);
        Augmentation.Images images = Augmentation.Images.equal(values);
        Operand batch = device.empty(DType.F32, s[0], s[4], s[4], s[3]);
        Operand mean = device.empty(DType.F32, s[3]);
        Operand deviation = device.empty(DType.F32, s[3]);
        for (int c = 0; c < s[3]; c++) {
            mean.segment().setAtIndex(ValueLayout.JAVA_FLOAT, c, 0.286f);
            deviation.segment().setAtIndex(ValueLayout.JAVA_FLOAT, c, 0.353f);
        }
        MemorySegment key = device.bytes(RandomKey.BYTES);
        Augmentation.Crop crop = new Augmentation.Crop.Random(0.3f, 1, 0.75f, 4 / 3f);
        Augmentation.Settings settings = pass.equals("protocol")
                ? new Augmentation.Settings(crop, true, 0.5f, 0.8f, 0.4f, 0.4f, 0.3f, 3, 0.1f, 2, 0)
                : new Augmentation.Settings(crop, true, 0.5f, 0, 0, 0, 0, 3, 0.1f, 2, 0);
        MemorySegment workspace = device.bytes(Augmentation.workspace(device.stream, settings, images, batch));
        contest.costs(0, pixels.length + (double) batch.layout().spanBytes())
                .ours(
                        () -> {
                            new RandomKey(1, step++, 0).write(key);
                            Augmentation.run(
                                    device.stream, settings, images, Operand.NONE, Operand.NONE, key, mean, deviation, batch,
                                    Operand.NONE, workspace);
                        },
                        List::of);
    }
}
