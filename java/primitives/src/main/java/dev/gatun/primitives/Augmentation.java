// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Views of images: random resized crop, horizontal flip, brightness and contrast, Gaussian blur, noise, normalisation, from uint8 images
 * straight into the f32 batch. One call makes one view of a batch. Every random decision is a function of the key, whose stream is the
 * index of the view, and of the sample's id.
 */
public final class Augmentation {
    /** Column of the drawn parameters: first row of the crop, in source pixels. */
    public static final int TOP = 0;

    /** First column of the crop, in source pixels. */
    public static final int LEFT = 1;

    /** Height of the crop, in source pixels. */
    public static final int HEIGHT = 2;

    /** Width of the crop, in source pixels. */
    public static final int WIDTH = 3;

    /** 0 or 1. */
    public static final int FLIP = 4;

    /** Factor, 1 without jitter. */
    public static final int BRIGHTNESS = 5;

    /** Factor, 1 without jitter. */
    public static final int CONTRAST = 6;

    /** 1 if the contrast changed before the brightness, else 0. */
    public static final int CONTRAST_FIRST = 7;

    /** Of the blur; 0 = not blurred. */
    public static final int SIGMA = 8;

    /** Number of drawn parameters of a view. */
    public static final int PARAMETERS = 9;

    private static final Downcall RUN = Downcall.withWorkspace("gatun_augmentation", 11);
    private static final Downcall WORKSPACE = Downcall.workspaceQuery("gatun_augmentation_workspace");
    private static final Struct DESC = Struct.descriptor("gatun_augmentation_desc");
    private static final long CROP_KIND = DESC.i32("crop");
    private static final long RESIZE = DESC.i32("resize");
    private static final long ANTIALIAS = DESC.i32("antialias");
    private static final long AREA_LOW = DESC.f32("area_low");
    private static final long AREA_HIGH = DESC.f32("area_high");
    private static final long ASPECT_LOW = DESC.f32("aspect_low");
    private static final long ASPECT_HIGH = DESC.f32("aspect_high");
    private static final long FLIP_RATE = DESC.f32("flip");
    private static final long JITTER = DESC.f32("jitter");
    private static final long BRIGHTNESS_RANGE = DESC.f32("brightness");
    private static final long CONTRAST_RANGE = DESC.f32("contrast");
    private static final long BLUR = DESC.f32("blur");
    private static final long SIGMA_LOW = DESC.f32("sigma_low");
    private static final long SIGMA_HIGH = DESC.f32("sigma_high");
    private static final long NOISE = DESC.f32("noise");
    private static final long BLUR_TAPS = DESC.i32("blur_taps");
    private static final long MAX_HEIGHT = DESC.i32("max_height");
    private static final long MAX_WIDTH = DESC.i32("max_width");

    static {
        DESC.u32("reserved");
    }

    private static final long IMAGES = DESC.layout("images");
    private static final long OFFSETS = DESC.layout("offsets");
    private static final long HEIGHTS = DESC.layout("heights");
    private static final long WIDTHS = DESC.layout("widths");
    private static final long ROWS = DESC.layout("rows");
    private static final long IDS = DESC.layout("ids");
    private static final long MEAN = DESC.layout("mean");
    private static final long DEVIATION = DESC.layout("deviation");
    private static final long BATCH = DESC.layout("batch");
    private static final long DRAWN = DESC.layout("parameters");

    /** What the fields of a random crop are of one that is not. */
    private static final Crop.Random NO_AREA = new Crop.Random(0, 0, 0, 0);

    private Augmentation() {}

    /** Which part of an image a view shows. */
    public sealed interface Crop {
        /**
         * Up to ten tries of an area, uniform between the bounds times the image's, and an aspect width/height, uniform in the logarithm;
         * the first that fits gets a uniform offset; if none fits, the largest central crop with an aspect within the bounds.
         *
         * @param areaLow in (0, 1]
         * @param areaHigh in [areaLow, 1]
         * @param aspectLow in [0.01, 100]
         * @param aspectHigh in [aspectLow, 100]
         */
        record Random(float areaLow, float areaHigh, float aspectLow, float aspectHigh) implements Crop {}

        /**
         * The image resized to a shorter side of {@code resize}, its centre cut out, for evaluation.
         *
         * @param resize at least the larger side of the view; 0: the whole image, stretched to the view
         */
        record Central(int resize) implements Crop {}
    }

    /**
     * What is done to the images.
     *
     * @param antialias whether a reduction averages over all pixels it covers; otherwise it is bilinear between two a side
     * @param flip probability of a horizontal flip
     * @param jitter probability of a change of brightness and contrast, in random order
     * @param brightness the factor is uniform in 1 ± brightness; in [0, 1]
     * @param contrast the factor, about the crop's mean, is uniform in 1 ± contrast; in [0, 1]
     * @param blur probability of a Gaussian blur
     * @param blurTaps of the blur along a side, odd, 1 to 63
     * @param sigmaLow smallest standard deviation of the blur, in pixels of the view, positive
     * @param sigmaHigh largest; at most 100
     * @param noise standard deviation of the noise on pixels in [0, 1]; 0: none
     */
    public record Settings(
            Crop crop,
            boolean antialias,
            float flip,
            float jitter,
            float brightness,
            float contrast,
            float blur,
            int blurTaps,
            float sigmaLow,
            float sigmaHigh,
            float noise) {
        /** Only crops and normalises: what an evaluation sees. */
        public static Settings plain(Crop crop, boolean antialias) {
            return new Settings(crop, antialias, 0, 0, 0, 0, 0, 1, 1, 1, 0);
        }
    }

    /**
     * Stored images.
     *
     * @param values u8 (N, H, W, C) contiguous; or, if ragged, u8 (bytes)
     * @param offsets i64 (N + 1): image i starts at byte offsets[i] and ends before offsets[i + 1]
     * @param heights i32 (N)
     * @param widths i32 (N)
     * @param maxHeight no image is higher
     * @param maxWidth no image is wider
     */
    public record Images(Operand values, Operand offsets, Operand heights, Operand widths, int maxHeight, int maxWidth) {
        /** Images of equal size: u8 (N, H, W, C) contiguous. */
        public static Images equal(Operand values) {
            return new Images(values, Operand.NONE, Operand.NONE, Operand.NONE, 0, 0);
        }
    }

    /** Bytes of workspace, aligned to 64, that {@link #run} needs. Only layouts are looked at. */
    public static long workspace(GatunStream stream, Settings settings, Images images, Operand batch) {
        try (Call call = Call.of(stream, WORKSPACE, DESC)) {
            describe(call, settings, images);
            call.layout(IMAGES, images.values);
            call.layout(OFFSETS, images.offsets);
            call.layout(HEIGHTS, images.heights);
            call.layout(WIDTHS, images.widths);
            call.layout(BATCH, batch);
            // The bytes do not depend on mean and deviation, but their shapes are checked.
            Layout channels = Layout.of(DType.F32, batch.layout().size(batch.layout().rank() - 1));
            call.layout(MEAN, new Operand(MemorySegment.NULL, channels));
            call.layout(DEVIATION, new Operand(MemorySegment.NULL, channels));
            return call.queryWorkspace();
        }
    }

    /**
     * Makes one view of each image of a batch.
     *
     * @param rows i32 (B): image of each view; {@link Operand#NONE}: image b for view b
     * @param ids i64 (B): sample id of each view; {@link Operand#NONE}: b
     * @param key a {@link RandomKey} in memory; its stream is the index of the view
     * @param mean f32 (C), of pixels in [0, 1]
     * @param deviation f32 (C): standard deviation, positive
     * @param batch f32 (B, h, w, C), written; each view contiguous
     * @param parameters f32 (B, {@link #PARAMETERS}), written: what was drawn; or {@link Operand#NONE}
     * @param workspace at least {@link #workspace} bytes, aligned to 64
     */
    public static void run(
            GatunStream stream,
            Settings settings,
            Images images,
            Operand rows,
            Operand ids,
            MemorySegment key,
            Operand mean,
            Operand deviation,
            Operand batch,
            Operand parameters,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, RUN, DESC)) {
            describe(call, settings, images);
            call.input(IMAGES, "images", images.values);
            call.input(OFFSETS, "offsets", images.offsets);
            call.input(HEIGHTS, "heights", images.heights);
            call.input(WIDTHS, "widths", images.widths);
            call.input(ROWS, "rows", rows);
            call.input(IDS, "ids", ids);
            call.pointer("key", key, RandomKey.BYTES, false);
            call.input(MEAN, "mean", mean);
            call.input(DEVIATION, "deviation", deviation);
            call.output(BATCH, "batch", batch);
            call.output(DRAWN, "parameters", parameters);
            call.runWithWorkspace(workspace);
        }
    }

    private static void describe(Call call, Settings settings, Images images) {
        // of the other kind's fields, too: a descriptor is used again
        Crop.Random random = settings.crop instanceof Crop.Random r ? r : NO_AREA;
        call.set(CROP_KIND, settings.crop instanceof Crop.Central ? 1 : 0);
        call.set(RESIZE, settings.crop instanceof Crop.Central c ? c.resize : 0);
        call.set(AREA_LOW, random.areaLow);
        call.set(AREA_HIGH, random.areaHigh);
        call.set(ASPECT_LOW, random.aspectLow);
        call.set(ASPECT_HIGH, random.aspectHigh);
        call.set(ANTIALIAS, settings.antialias ? 1 : 0);
        call.set(FLIP_RATE, settings.flip);
        call.set(JITTER, settings.jitter);
        call.set(BRIGHTNESS_RANGE, settings.brightness);
        call.set(CONTRAST_RANGE, settings.contrast);
        call.set(BLUR, settings.blur);
        call.set(BLUR_TAPS, settings.blurTaps);
        call.set(SIGMA_LOW, settings.sigmaLow);
        call.set(SIGMA_HIGH, settings.sigmaHigh);
        call.set(NOISE, settings.noise);
        call.set(MAX_HEIGHT, images.maxHeight);
        call.set(MAX_WIDTH, images.maxWidth);
    }
}
