// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Batch;
import dev.gatun.data.Dataset;
import dev.gatun.data.DatasetProvider;
import dev.gatun.data.Datasets;
import dev.gatun.data.Element;
import dev.gatun.data.Samples;
import dev.gatun.data.View;
import dev.gatun.data.ViewRole;
import dev.gatun.data.Views;
import dev.gatun.data.ViewsProvider;
import dev.gatun.learning.pipeline.BatchSettings;
import dev.gatun.learning.pipeline.CheckpointSettings;
import dev.gatun.learning.pipeline.DeviceSettings;
import dev.gatun.learning.pipeline.EvaluationSettings;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.ScheduleSettings;
import dev.gatun.learning.pipeline.Section;
import dev.gatun.learning.optimizer.AdamWProvider;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;

/** A tiny experiment: 4x4 images of three patterns with noise, noisy views, an encoder of one matrix. */
public final class Synthetic {
    static final int SIDE = 4;
    static final int CLASSES = 3;

    private Synthetic() {}

    /** Images whose pattern is their class. */
    record Images(int size, long seed) implements Dataset {
        @Override
        public Element read(int index) {
            SplittableRandom random = new SplittableRandom(seed * 1_000_003 + index);
            byte[] pixels = new byte[SIDE * SIDE];
            for (int p = 0; p < pixels.length; p++) {
                int bright = (p + label(index)) % CLASSES == 0 ? 180 : 40;
                pixels[p] = (byte) (bright + random.nextInt(60));
            }
            return new Element(new long[] {SIDE, SIDE, 1}, MemorySegment.ofArray(pixels));
        }

        @Override
        public boolean labelled() {
            return true;
        }

        @Override
        public int label(int index) {
            return index % CLASSES;
        }

        @Override
        public int classes() {
            return CLASSES;
        }

        @Override
        public List<String> classNames() {
            return List.of("dots", "bars", "<rest>");
        }

        @Override
        public String describe(int index) {
            return "synthetic " + index;
        }

        @Override
        public boolean resident() {
            return true;
        }
    }

    /** The data. */
    public static final class Data implements DatasetProvider {
        /** How many images there are. */
        public record Settings(int images) {
            public Settings() {
                this(96);
            }
        }

        @Override
        public String name() {
            return "synthetic";
        }

        @Override
        public Class<? extends Record> settings() {
            return Settings.class;
        }

        @Override
        public Datasets create(Record settings, long seed) {
            int images = ((Settings) settings).images();
            return new Datasets(new Images(images, 1), new Images(images, 1), Optional.of(new Images(60, 2)));
        }
    }

    /** Views with noise. */
    public static final class Noise implements ViewsProvider {
        /** A list of records, to test its binding; and how much noise. */
        public record Settings(List<Crop> crops, float noise) {
            public Settings() {
                this(List.of(new Crop("global", 2)), .2f);
            }

            public Settings {
                if (!(noise >= 0)) {
                    throw new IllegalArgumentException("noise: expected at least 0, got " + noise);
                }
            }
        }

        /** Views of a role. */
        public record Crop(String role, int count) {
            public Crop() {
                this("global", 1);
            }
        }

        @Override
        public String name() {
            return "noise";
        }

        @Override
        public Class<? extends Record> settings() {
            return Settings.class;
        }

        @Override
        public Views create(Record settings, Dataset data) {
            return new NoisyViews((Settings) settings);
        }
    }

    private record NoisyViews(Noise.Settings settings) implements Views {
        @Override
        public List<ViewRole> roles() {
            List<ViewRole> roles = new ArrayList<>();
            for (Noise.Crop crop : settings.crops()) {
                for (int i = 0; i < crop.count(); i++) {
                    roles.add(new ViewRole(crop.role(), SIDE));
                }
            }
            return roles;
        }

        @Override
        public long[] shape() {
            return new long[] {SIDE, SIDE, 1};
        }

        @Override
        public Samples samples(Dataset data, int[] indices) {
            // the host draws these views: nothing goes to the device before
            return new Samples(Arrays.stream(indices).asLongStream().toArray(), data.labels(indices), List.of(), data);
        }

        @Override
        public Batch make(Scope scope, Samples samples, List<Tensor> tensors, RandomKey key) {
            int[] indices = Arrays.stream(samples.ids()).mapToInt(Math::toIntExact).toArray();
            List<View> views = new ArrayList<>();
            for (ViewRole role : roles()) {
                views.add(new View(role.role(), SIDE, images(scope, (Dataset) samples.layout(), indices, key.child(views.size()))));
            }
            return new Batch(samples.ids(), views, samples.labels());
        }

        @Override
        public Tensor plain(Scope scope, Dataset data, int[] indices) {
            return images(scope, data, indices, null);
        }

        private Tensor images(Scope scope, Dataset data, int[] indices, RandomKey key) {
            float[] values = new float[indices.length * SIDE * SIDE];
            for (int b = 0; b < indices.length; b++) {
                MemorySegment pixels = data.read(indices[b]).data();
                SplittableRandom random =
                        key == null ? null : new SplittableRandom(key.hashCode() * 31L + indices[b]);
                for (int p = 0; p < SIDE * SIDE; p++) {
                    float value = (pixels.get(java.lang.foreign.ValueLayout.JAVA_BYTE, p) & 0xff) / 255f - .4f;
                    double noise = random == null ? 0 : settings.noise() * random.nextGaussian();
                    values[b * SIDE * SIDE + p] = (float) (value + noise);
                }
            }
            return scope.of(values, indices.length, SIDE, SIDE, 1);
        }

        @Override
        public byte[] picture(Tensor images, int row) {
            return new byte[] {1, 2, 3};
        }

        @Override
        public byte[] picture(Element element) {
            return new byte[] {4, 5, 6};
        }
    }

    /** An encoder of one matrix. */
    public static final class Model implements EncoderProvider {
        /** The features' width. */
        public record Settings(int width) {
            public Settings() {
                this(8);
            }
        }

        @Override
        public String name() {
            return "matrix";
        }

        @Override
        public Class<? extends Record> settings() {
            return Settings.class;
        }

        @Override
        public Encoder create(Record settings, Parameters parameters, long[] inputShape) {
            int width = ((Settings) settings).width();
            Parameter weight = parameters.parameter(
                    "weight", Initializer.fanInUniform(), width, inputShape[0] * inputShape[1] * inputShape[2]);
            return new Encoder() {
                @Override
                public int features() {
                    return width;
                }

                @Override
                public Tensor forward(Pass pass, Tensor x) {
                    return x.reshape(x.size(0), -1).matmulTransposed(pass.use(weight));
                }
            };
        }
    }

    /** Pulls the views of an image together and keeps the features' length at one; breaks at a chosen step. */
    public static class Pull implements MethodProvider {
        /** When to break. */
        public record Settings(int nanAt) {
            public Settings() {
                this(-1);
            }
        }

        @Override
        public String name() {
            return "pull";
        }

        @Override
        public String paper() {
            return "a test's own";
        }

        @Override
        public String citation() {
            return "a test's own";
        }

        @Override
        public String needs() {
            return "2 views";
        }

        @Override
        public String config() {
            return "";
        }

        @Override
        public String advice() {
            return "a stronger pull";
        }

        @Override
        public Class<? extends Record> settings() {
            return Settings.class;
        }

        @Override
        public Method create(Record settings) {
            int nanAt = ((Settings) settings).nanAt();
            return new Method() {
                private Encoder encoder;

                @Override
                public void build(MethodBuild build) {
                    encoder = build.encoder();
                }

                @Override
                public Tensor loss(Batch batch, Step step) {
                    Tensor a = encoder.forward(step.pass(), batch.views().get(0).images());
                    Tensor b = encoder.forward(step.pass(), batch.views().get(1).images());
                    Tensor length = a.square().sum(1).add(-1f).square().mean();
                    Tensor loss = a.sub(b).square().sum(1).mean().add(length);
                    return step.index() == nanAt ? loss.add(-100f).sqrt() : loss;
                }
            };
        }
    }

    /** The experiment with a method of choice. */
    static <M extends MethodProvider> Pipeline pipeline(M method, Record settings, int images, int epochs) {
        return new Pipeline(
                Pipeline.VERSION,
                7,
                new DeviceSettings("cpu", 1, true),
                "f32",
                new Section<>("synthetic", new Data(), new Data.Settings(images)),
                new BatchSettings(12, 1),
                new Section<>("noise", new Noise(), new Noise.Settings()),
                new Section<>("matrix", new Model(), new Model.Settings()),
                new Section<>(method.name(), method, settings),
                new Section<>("adamw", new AdamWProvider(), new AdamWProvider.Settings()),
                new ScheduleSettings("cosine", epochs, 0, 0, 0, 0, .3),
                new EvaluationSettings(),
                new CheckpointSettings());
    }

    static Pipeline pull(int images, int epochs) {
        return pipeline(new Pull(), new Pull.Settings(), images, epochs);
    }
}
