// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Augmentation;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.RandomKey;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** One view of a batch of images. The Fashion-MNIST protocol, and a global crop of 256 x 256 colour images. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class AugmentationBenchmark {
    /** Views, height and width of the stored image, channels, side of the view. */
    @Param({"512x28x28x1x28", "16x256x256x3x224"})
    public String shape;

    private Augmentation.Images images;
    private Operand batch;
    private Operand mean;
    private Operand deviation;
    private MemorySegment key;
    private MemorySegment workspace;
    private long step;

    private static final Augmentation.Crop CROP = new Augmentation.Crop.Random(0.3f, 1, 0.75f, 4 / 3f);
    private static final Augmentation.Settings PROTOCOL =
            new Augmentation.Settings(CROP, true, 0.5f, 0.8f, 0.4f, 0.4f, 0.3f, 3, 0.1f, 2, 0);
    private static final Augmentation.Settings CROP_ONLY =
            new Augmentation.Settings(CROP, true, 0.5f, 0, 0, 0, 0, 3, 0.1f, 2, 0);

    @Setup
    public void setup(DeviceState device) {
        long[] s = Shapes.parse(shape);
        Operand values = device.empty(DType.U8, s[0], s[1], s[2], s[3]);
        byte[] pixels = new byte[(int) values.layout().elements()];
        new SplittableRandom(1).nextBytes(pixels);
        MemorySegment.copy(pixels, 0, values.segment(), ValueLayout.JAVA_BYTE, 0, pixels.length);
        images = Augmentation.Images.equal(values);
        batch = device.empty(DType.F32, s[0], s[4], s[4], s[3]);
        mean = device.empty(DType.F32, s[3]);
        deviation = device.empty(DType.F32, s[3]);
        for (int c = 0; c < s[3]; c++) {
            mean.segment().setAtIndex(ValueLayout.JAVA_FLOAT, c, 0.286f);
            deviation.segment().setAtIndex(ValueLayout.JAVA_FLOAT, c, 0.353f);
        }
        key = device.empty(DType.U8, RandomKey.BYTES).segment();
        workspace = device.empty(DType.U8, Augmentation.workspace(device.stream, PROTOCOL, images, batch)).segment();
    }

    private void run(DeviceState device, Augmentation.Settings settings) {
        new RandomKey(1, step++, 0).write(key);
        Augmentation.run(
                device.stream, settings, images, Operand.NONE, Operand.NONE, key, mean, deviation, batch, Operand.NONE, workspace);
    }

    @Benchmark
    public void cropAndFlip(DeviceState device) {
        run(device, CROP_ONLY);
    }

    @Benchmark
    public void protocol(DeviceState device) {
        run(device, PROTOCOL);
    }
}
