// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.DataException;
import dev.gatun.data.Dataset;
import dev.gatun.data.Datasets;
import dev.gatun.data.Element;
import java.awt.image.BufferedImage;
import java.awt.image.DataBuffer;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.awt.image.WritableRaster;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriter;
import javax.imageio.stream.ImageOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class ImageDecoderTest {
    @TempDir
    Path folder;

    private static byte[] file(BufferedImage image, String format) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        assertTrue(ImageIO.write(image, format, out));
        return out.toByteArray();
    }

    private static byte[] pixels(Element element) {
        return element.data().toArray(ValueLayout.JAVA_BYTE);
    }

    private static BufferedImage gradient(int type, int width, int height) {
        BufferedImage image = new BufferedImage(width, height, type);
        int bands = image.getRaster().getNumBands();
        int scale = type == BufferedImage.TYPE_USHORT_GRAY ? 257 : 1;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                for (int b = 0; b < bands; b++) {
                    image.getRaster().setSample(x, y, b, (b == 3 ? 77 : (x * 3 + y * 5 + b * 70) % 256) * scale);
                }
            }
        }
        return image;
    }

    private static byte[] expected(int width, int height, int channels) {
        byte[] pixels = new byte[width * height * channels];
        for (int i = 0; i < pixels.length; i++) {
            int p = i / channels;
            pixels[i] = (byte) ((p % width * 3 + p / width * 5 + i % channels * 70) % 256);
        }
        return pixels;
    }

    static String line(Executable action) {
        String message = assertThrows(DataException.class, action).getMessage();
        assertEquals(1, message.lines().count(), message);
        return message;
    }

    @Test
    void losslessFilesKeepTheirSamples() throws IOException {
        for (int type : new int[] {BufferedImage.TYPE_3BYTE_BGR, BufferedImage.TYPE_INT_RGB, BufferedImage.TYPE_4BYTE_ABGR}) {
            Element e = new ImageDecoder(3).decode(file(gradient(type, 17, 9), "png"), "x.png");
            assertArrayEquals(new long[] {9, 17, 3}, e.shape());
            assertArrayEquals(expected(17, 9, 3), pixels(e));
        }
        Element bmp = new ImageDecoder(3).decode(file(gradient(BufferedImage.TYPE_3BYTE_BGR, 17, 9), "bmp"), "x.bmp");
        assertArrayEquals(expected(17, 9, 3), pixels(bmp));
    }

    @Test
    void greyIsNotBrightened() throws IOException {
        for (int type : new int[] {BufferedImage.TYPE_BYTE_GRAY, BufferedImage.TYPE_USHORT_GRAY}) {
            Element e = new ImageDecoder(1).decode(file(gradient(type, 17, 9), "png"), "x.png");
            assertArrayEquals(new long[] {9, 17, 1}, e.shape());
            assertArrayEquals(expected(17, 9, 1), pixels(e));
        }
        Element jpeg = new ImageDecoder(1).decode(file(gradient(BufferedImage.TYPE_BYTE_GRAY, 16, 16), "jpg"), "x.jpg");
        Element jpeg3 = new ImageDecoder(3).decode(file(gradient(BufferedImage.TYPE_BYTE_GRAY, 16, 16), "jpg"), "x.jpg");
        for (int i = 0; i < 256; i++) {
            int want = expected(16, 16, 1)[i] & 0xff;
            assertEquals(want, pixels(jpeg)[i] & 0xff, 6);
            assertEquals(pixels(jpeg)[i], pixels(jpeg3)[3 * i]);
            assertEquals(pixels(jpeg)[i], pixels(jpeg3)[3 * i + 2]);
        }
    }

    @Test
    void colourBecomesLuma() throws IOException {
        BufferedImage image = new BufferedImage(4, 1, BufferedImage.TYPE_INT_RGB);
        image.setRGB(0, 0, 0xff0000);
        image.setRGB(1, 0, 0x00ff00);
        image.setRGB(2, 0, 0x0000ff);
        image.setRGB(3, 0, 0x646464);
        assertArrayEquals(new byte[] {76, (byte) 150, 29, 100}, pixels(new ImageDecoder(1).decode(file(image, "png"), "x.png")));
    }

    @Test
    void paletteAndGifAreRead() throws IOException {
        byte[] low = {0, 10, 20, 30};
        byte[] high = {0, (byte) 200, (byte) 255, 1};
        BufferedImage image =
                new BufferedImage(5, 8, BufferedImage.TYPE_BYTE_INDEXED, new IndexColorModel(8, 4, high, low, low));
        image.getRaster().setSample(3, 2, 0, 2);
        for (String format : List.of("png", "gif")) {
            Element e = new ImageDecoder(3).decode(file(image, format), "x." + format);
            assertArrayEquals(new byte[] {(byte) 255, 20, 20}, Arrays.copyOfRange(pixels(e), 39, 42), format);
        }
    }

    @Test
    void jpegInInkColoursIsRead() throws IOException {
        WritableRaster inks = Raster.createInterleavedRaster(DataBuffer.TYPE_BYTE, 16, 8, 4, null);
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 16; x++) {
                // Adobe stores inks inverted: 255 is none
                inks.setPixel(x, y, new int[] {255, 255, 255, x < 8 ? 255 : 0});
            }
        }
        ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (ImageOutputStream stream = ImageIO.createImageOutputStream(out)) {
            writer.setOutput(stream);
            writer.write(null, new IIOImage(inks, null, null), null);
        } finally {
            writer.dispose();
        }
        byte[] jpeg = out.toByteArray();
        // the writer leaves out the segment that says "four inks, not YCCK"
        byte[] adobe = {(byte) 0xff, (byte) 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0};
        byte[] file = new byte[jpeg.length + adobe.length];
        System.arraycopy(jpeg, 0, file, 0, 2);
        System.arraycopy(adobe, 0, file, 2, adobe.length);
        System.arraycopy(jpeg, 2, file, 2 + adobe.length, jpeg.length - 2);
        byte[] paper = pixels(new ImageDecoder(3).decode(file, "x.jpg"));
        assertEquals(8 * 16 * 3, paper.length);
        for (int c = 0; c < 3; c++) {
            assertEquals(255, paper[3 * 2 + c] & 0xff, 8);
            assertEquals(20, paper[3 * 13 + c] & 0xff, 35);
        }
    }

    @Test
    void brokenFilesAreNamed() throws IOException {
        byte[] jpeg = file(gradient(BufferedImage.TYPE_3BYTE_BGR, 64, 64), "jpg");
        byte[] png = file(gradient(BufferedImage.TYPE_3BYTE_BGR, 64, 64), "png");
        ImageDecoder decoder = new ImageDecoder(3);
        for (byte[] whole : List.of(jpeg, png)) {
            for (int length : new int[] {0, 1, 10, 30, whole.length / 4, whole.length / 2, whole.length * 3 / 4}) {
                String line = line(() -> decoder.decode(Arrays.copyOf(whole, length), "cat/1.jpg"));
                assertTrue(line.startsWith("cat/1.jpg: is "), line);
            }
        }
        assertTrue(line(() -> decoder.decode("hello".getBytes(), "a.jpg")).startsWith("a.jpg: is no image"));
        assertThrows(IllegalArgumentException.class, () -> new ImageDecoder(2));
    }

    @Test
    void damageNeverEscapesAsAnotherException() throws IOException {
        byte[] whole = file(gradient(BufferedImage.TYPE_3BYTE_BGR, 24, 24), "jpg");
        ImageDecoder decoder = new ImageDecoder(3);
        int refused = 0;
        for (int at = 2; at < whole.length; at += 3) {
            byte[] damaged = whole.clone();
            damaged[at] ^= (byte) 0xff;
            try {
                decoder.decode(damaged, "x.jpg");
            } catch (DataException e) {
                refused++;
            }
        }
        assertTrue(refused > 0);
    }

    @Test
    void pngRoundTrip() throws IOException {
        for (int channels : new int[] {1, 3}) {
            byte[] pixels = expected(13, 7, channels);
            Element element = new Element(new long[] {7, 13, channels}, MemorySegment.ofArray(pixels));
            assertArrayEquals(pixels, pixels(new ImageDecoder(channels).decode(Png.encode(element), "x.png")));
        }
        assertThrows(IllegalArgumentException.class,
                () -> Png.encode(new Element(new long[] {1, 1, 2}, MemorySegment.ofArray(new byte[2]))));
    }

    @Test
    void imageFolderWithABrokenJpeg() throws IOException {
        for (String name : List.of("train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg", "test/dog/4.jpg")) {
            Files.createDirectories(folder.resolve(name).getParent());
            Files.write(folder.resolve(name), file(gradient(BufferedImage.TYPE_3BYTE_BGR, 20, 12), "jpg"));
        }
        Path broken = folder.resolve("train/dog/2.jpg");
        Files.write(broken, Arrays.copyOf(Files.readAllBytes(broken), 400));
        ImageFolderProvider provider = new ImageFolderProvider();
        String train = folder.resolve("train").toString();
        Datasets all = provider.create(new ImageFolderSettings(train, folder.resolve("test").toString(), 3, 0), 1);
        Dataset data = all.train();
        assertEquals(2, data.size());
        assertEquals(List.of("cat", "dog"), data.classNames());
        assertArrayEquals(new long[] {12, 20, 3}, data.read(0).shape());
        assertTrue(line(() -> data.read(1)).startsWith(broken + ": is a broken image"));
        assertTrue(line(() -> provider.create(new ImageFolderSettings(), 1)).startsWith("data.path: is not set"));
        assertTrue(line(() -> provider.create(new ImageFolderSettings(train, "", 2, 0), 1)).startsWith("data.channels: is 2"));
        Files.move(folder.resolve("test/dog"), folder.resolve("test/fox"));
        assertTrue(line(() -> provider.create(new ImageFolderSettings(train, folder.resolve("test").toString(), 3, 0), 1))
                .contains("has classes [cat, fox]"));
        Datasets unlabelled = provider.create(
                new ImageFolderSettings(folder.resolve("train/cat").toString(), folder.resolve("test").toString(), 3, 0), 1);
        assertEquals(List.of(), unlabelled.train().classNames());
    }
}
