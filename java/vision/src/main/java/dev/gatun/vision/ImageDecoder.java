// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.DataException;
import dev.gatun.data.Decoder;
import dev.gatun.data.Element;
import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.ComponentColorModel;
import java.awt.image.ComponentSampleModel;
import java.awt.image.DataBuffer;
import java.awt.image.DataBufferByte;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * Decodes JPEG (also CMYK and other rare kinds), PNG, BMP and GIF to unsigned bytes (height, width, channels).
 * Transparency is dropped, the first image of an animation is taken, 16-bit samples keep their high byte, and the
 * camera's orientation tag is ignored.
 */
public final class ImageDecoder implements Decoder {
    private static final Set<String> EXTENSIONS = Set.of("jpg", "jpeg", "png", "bmp", "gif");

    /** Larger images than this are taken for damage or an attack rather than decoded. */
    private static final long LARGEST_PIXELS = 1L << 28;

    private final int channels;

    /**
     * @param channels 3 for red, green, blue, or 1 for luma (ITU-R 601): files of the other kind are converted
     */
    public ImageDecoder(int channels) {
        if (channels != 1 && channels != 3) {
            throw new IllegalArgumentException("images have 1 or 3 channels, not " + channels);
        }
        this.channels = channels;
    }

    @Override
    public Set<String> extensions() {
        return EXTENSIONS;
    }

    @Override
    public Element decode(byte[] bytes, String where) {
        BufferedImage image = read(bytes, where);
        int height = image.getHeight();
        int width = image.getWidth();
        byte[] pixels = new byte[Math.multiplyExact(Math.multiplyExact(height, width), channels)];
        if (!samples(image, pixels)) {
            colours(image, pixels);
        }
        return new Element(new long[] {height, width, channels}, MemorySegment.ofArray(pixels));
    }

    private static BufferedImage read(byte[] bytes, String where) {
        // a stream of its own instead of ImageIO.read: that one caches in files, by a process-wide switch
        try (ImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(bytes))) {
            Iterator<ImageReader> readers = ImageIO.getImageReaders(in);
            if (!readers.hasNext()) {
                throw new DataException(where, "is no image that can be read (" + bytes.length + " bytes)");
            }
            ImageReader reader = readers.next();
            try {
                List<String> warnings = new ArrayList<>();
                reader.addIIOReadWarningListener((source, warning) -> warnings.add(warning));
                reader.setInput(in, true, true);
                long pixels = (long) reader.getWidth(0) * reader.getHeight(0);
                if (pixels > LARGEST_PIXELS) {
                    throw new DataException(where, "has " + pixels + " pixels; more than " + LARGEST_PIXELS + " are not decoded");
                }
                BufferedImage image = reader.read(0);
                // the JPEG reader fills the missing part with grey and only warns
                for (String warning : warnings) {
                    String text = warning.toLowerCase(Locale.ROOT);
                    if (text.contains("premature end") || text.contains("truncated") || text.contains("corrupt")) {
                        throw new DataException(where, "is a broken image: " + warning);
                    }
                }
                return image;
            } finally {
                reader.dispose();
            }
        } catch (IOException | RuntimeException e) {
            if (e instanceof DataException known) {
                throw known;
            }
            // the readers throw whatever a damaged header makes them run into, not only IOException
            throw new DataException(where, "is a broken image: " + (e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage()), e);
        }
    }

    /**
     * Copies the stored samples of grey and red-green-blue images. Going through getRGB would be wrong for grey ones:
     * Java takes their samples for linear light and brightens them.
     *
     * @return whether the image is of such a kind
     */
    private boolean samples(BufferedImage image, byte[] pixels) {
        ColorModel model = image.getColorModel();
        int kind = model.getColorSpace().getType();
        int type = image.getRaster().getTransferType();
        boolean grey = kind == ColorSpace.TYPE_GRAY;
        if (!(model instanceof ComponentColorModel) || !grey && kind != ColorSpace.TYPE_RGB
                || type != DataBuffer.TYPE_BYTE && type != DataBuffer.TYPE_USHORT
                || model.getComponentSize(0) != (type == DataBuffer.TYPE_BYTE ? 8 : 16)) {
            return false;
        }
        int shift = type == DataBuffer.TYPE_BYTE ? 0 : 8;
        Raster raster = image.getRaster();
        int width = image.getWidth();
        if (raster.getSampleModel() instanceof ComponentSampleModel layout && raster.getDataBuffer() instanceof DataBufferByte buffer
                && buffer.getNumBanks() == 1) {
            bytes(image, layout, buffer, grey, pixels);
            return true;
        }
        int bands = raster.getNumBands();
        int[] row = new int[width * bands];
        int at = 0;
        for (int y = 0; y < image.getHeight(); y++) {
            raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
            for (int x = 0; x < width; x++) {
                int r = row[x * bands] >> shift;
                at = grey ? put(pixels, at, r, r, r) : put(pixels, at, r, row[x * bands + 1] >> shift, row[x * bands + 2] >> shift);
            }
        }
        return true;
    }

    /** {@link #samples} of bytes that lie in one array, as nearly all images' do: without a detour through numbers. */
    private void bytes(BufferedImage image, ComponentSampleModel layout, DataBufferByte buffer, boolean grey, byte[] pixels) {
        Raster raster = image.getRaster();
        byte[] from = buffer.getData();
        int[] bands = layout.getBandOffsets();
        int first = bands[0];
        int second = grey ? first : bands[1];
        int third = grey ? first : bands[2];
        int step = layout.getPixelStride();
        int left = raster.getMinX() - raster.getSampleModelTranslateX();
        int top = raster.getMinY() - raster.getSampleModelTranslateY();
        int to = 0;
        for (int y = 0; y < image.getHeight(); y++) {
            int at = buffer.getOffset() + (top + y) * layout.getScanlineStride() + left * step;
            for (int x = 0; x < image.getWidth(); x++, at += step) {
                if (channels == 3) {
                    pixels[to] = from[at + first];
                    pixels[to + 1] = from[at + second];
                    pixels[to + 2] = from[at + third];
                    to += 3;
                } else {
                    to = put(pixels, to, from[at + first] & 0xff, from[at + second] & 0xff, from[at + third] & 0xff);
                }
            }
        }
    }

    private void colours(BufferedImage image, byte[] pixels) {
        int[] row = new int[image.getWidth()];
        int at = 0;
        for (int y = 0; y < image.getHeight(); y++) {
            image.getRGB(0, y, row.length, 1, row, 0, row.length);
            for (int rgb : row) {
                at = put(pixels, at, rgb >> 16 & 0xff, rgb >> 8 & 0xff, rgb & 0xff);
            }
        }
    }

    private int put(byte[] pixels, int at, int r, int g, int b) {
        if (channels == 3) {
            pixels[at] = (byte) r;
            pixels[at + 1] = (byte) g;
            pixels[at + 2] = (byte) b;
            return at + 3;
        }
        // .299, .587, .114 in 16 bits; they add up to 65536, so grey stays as it is
        pixels[at] = (byte) ((r * 19595 + g * 38470 + b * 7471 + 32768) >> 16);
        return at + 1;
    }
}
