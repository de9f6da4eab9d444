// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.data.CachedDataset;
import dev.gatun.data.Dataset;
import dev.gatun.data.FolderDataset;
import dev.gatun.data.Loader;
import dev.gatun.data.Views;
import dev.gatun.tensor.Device;
import dev.gatun.vision.CropSettings;
import dev.gatun.vision.ImageDecoder;
import dev.gatun.vision.MultiCropProvider;
import dev.gatun.vision.MultiCropSettings;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.awt.image.DataBufferByte;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * From a folder of JPEGs of 500 x 375 to the six views of multi-crop (2 of 224, 4 of 96 pixels), in images a second on all processors. The plain
 * form is what one writes with the JDK alone: ImageIO decodes, Graphics2D crops, resizes (bilinear) and flips, a loop normalises; it has neither
 * antialiasing nor jitter nor blur, which ours has.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class DataBenchmark {
    private static final int BATCH = 16;
    private static final int FILES = 64;
    private static final int[] SIDES = {224, 224, 96, 96, 96, 96};
    private static final float MEAN = .45f;
    private static final float DEVIATION = .225f;

    private Path folder;
    private Device device;
    private Loader files;
    private Loader cached;
    private Dataset data;
    private long step;
    private float[][][] plainViews;

    @Setup
    public void setup() throws IOException {
        folder = Files.createTempDirectory("gatun-data");
        for (int i = 0; i < FILES; i++) {
            ImageIO.write(picture(i), "jpg", folder.resolve(i + ".jpg").toFile());
        }
        device = Device.cpu(0);
        data = FolderDataset.open(folder, new ImageDecoder(3));
        files = loader(data);
        cached = loader(CachedDataset.of(data, 1L << 30));
        plainViews = new float[BATCH][SIDES.length][];
        for (float[][] views : plainViews) {
            for (int v = 0; v < SIDES.length; v++) {
                views[v] = new float[SIDES[v] * SIDES[v] * 3];
            }
        }
    }

    /** Edges, gradients and some noise, which compress about as photographs do. */
    private static BufferedImage picture(int seed) {
        SplittableRandom random = new SplittableRandom(seed);
        BufferedImage image = new BufferedImage(500, 375, BufferedImage.TYPE_3BYTE_BGR);
        double angle = random.nextDouble(Math.PI);
        double scale = random.nextDouble(.01, .1);
        for (int y = 0; y < image.getHeight(); y++) {
            for (int x = 0; x < image.getWidth(); x++) {
                double wave = Math.sin(scale * (x * Math.cos(angle) + y * Math.sin(angle)) * (1 + y / 300.0));
                int base = (int) (120 + 90 * wave) + random.nextInt(20);
                image.setRGB(x, y, base << 16 | (base + x / 10) / 2 << 8 | (255 - base) & 0xff);
            }
        }
        return image;
    }

    private Loader loader(Dataset from) {
        CropSettings global = new CropSettings("global", 2, 224, List.of(.14, 1.), List.of(.75, 1.33), .5, .8, .4, .4, .5, 23, List.of(.1, 2.), 0);
        CropSettings local = new CropSettings("local", 4, 96, List.of(.05, .14), List.of(.75, 1.33), .5, .8, .4, .4, .5, 9, List.of(.1, 2.), 0);
        Views views = new MultiCropProvider().create(
                new MultiCropSettings(List.of(global, local), List.of((double) MEAN), List.of((double) DEVIATION), 0, 0), from);
        return new Loader(from, views, BATCH, true, 1, device.threads());
    }

    @TearDown
    public void close() throws IOException {
        files.close();
        cached.close();
        device.close();
        try (Stream<Path> left = Files.list(folder)) {
            left.forEach(file -> file.toFile().delete());
        }
        Files.delete(folder);
    }

    @Benchmark
    @OperationsPerInvocation(BATCH)
    public void gatun() {
        batch(files);
    }

    /** As in every epoch after the first where the images fit into {@code data.cache_mib}. */
    @Benchmark
    @OperationsPerInvocation(BATCH)
    public void gatunCached() {
        batch(cached);
    }

    private void batch(Loader loader) {
        try (dev.gatun.tensor.Scope scope = device.scope().open()) {
            loader.batch(scope, step++);
        }
    }

    /** The loader's decoder alone. */
    @Benchmark
    @OperationsPerInvocation(BATCH)
    public long gatunDecode() {
        long first = step++ * BATCH;
        return IntStream.range(0, BATCH).parallel().mapToLong(i -> data.read((int) ((first + i) % FILES)).data().byteSize()).sum();
    }

    @Benchmark
    @OperationsPerInvocation(BATCH)
    public float[][][] plainJava() {
        long first = step++ * BATCH;
        IntStream.range(0, BATCH).parallel().forEach(i -> plain((int) ((first + i) % FILES), plainViews[i], first + i));
        return plainViews;
    }

    private void plain(int index, float[][] views, long seed) {
        BufferedImage image;
        try {
            image = ImageIO.read(folder.resolve(index + ".jpg").toFile());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        SplittableRandom random = new SplittableRandom(seed);
        for (int v = 0; v < views.length; v++) {
            int side = SIDES[v];
            double area = (side == 224 ? random.nextDouble(.14, 1) : random.nextDouble(.05, .14)) * image.getWidth() * image.getHeight();
            int width = (int) Math.min(image.getWidth(), Math.sqrt(area));
            int height = (int) Math.min(image.getHeight(), Math.sqrt(area));
            int left = random.nextInt(image.getWidth() - width + 1);
            int top = random.nextInt(image.getHeight() - height + 1);
            BufferedImage view = new BufferedImage(side, side, BufferedImage.TYPE_3BYTE_BGR);
            Graphics2D graphics = view.createGraphics();
            graphics.setRenderingHint(RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BILINEAR);
            boolean flip = random.nextBoolean();
            graphics.drawImage(image, flip ? side : 0, 0, flip ? 0 : side, side, left, top, left + width, top + height, null);
            graphics.dispose();
            byte[] bytes = ((DataBufferByte) view.getRaster().getDataBuffer()).getData();
            for (int p = 0; p < bytes.length; p += 3) {
                for (int c = 0; c < 3; c++) {
                    views[v][p + c] = ((bytes[p + 2 - c] & 0xff) / 255f - MEAN) / DEVIATION;
                }
            }
        }
    }
}
