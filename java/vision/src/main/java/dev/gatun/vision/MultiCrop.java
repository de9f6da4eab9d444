// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.Batch;
import dev.gatun.data.Dataset;
import dev.gatun.data.Element;
import dev.gatun.data.Samples;
import dev.gatun.data.View;
import dev.gatun.data.ViewRole;
import dev.gatun.data.Views;
import dev.gatun.primitives.Augmentation;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Multi-crop views (SwAV, section 3.3), made by the native augmentation kernel. View v draws under the key's child v. */
final class MultiCrop implements Views {
    private final MultiCropSettings settings;
    private final int channels;
    private final PixelScale scale;
    /** For each view, how it is drawn. */
    private final List<CropSettings> crops = new ArrayList<>();

    private final List<ViewRole> roles;

    MultiCrop(MultiCropSettings settings, int channels) {
        this.settings = settings;
        this.channels = channels;
        this.scale = new PixelScale(settings.mean(), settings.std(), channels);
        for (CropSettings crop : settings.crops()) {
            for (int i = 0; i < crop.count(); i++) {
                crops.add(crop);
            }
        }
        roles = crops.stream().map(c -> new ViewRole(c.role(), c.size())).toList();
    }

    @Override
    public List<ViewRole> roles() {
        return roles;
    }

    @Override
    public long[] shape() {
        return new long[] {settings.side(), settings.side(), channels};
    }

    @Override
    public Samples samples(Dataset data, int[] indices) {
        long[] ids = Arrays.stream(indices).asLongStream().toArray();
        ImageBatch images = ImageBatch.read(data, indices, channels);
        List<Samples.Stored> stored = new ArrayList<>(images.stored());
        // a sample that an order repeats within a batch is shown in other views each time
        long[] apart = RandomKey.apart(ids);
        stored.add(new Samples.Stored(DType.I64, new long[] {apart.length}, target -> target.copyFrom(MemorySegment.ofArray(apart))));
        return new Samples(ids, data.labels(indices), stored, images.layout());
    }

    @Override
    public Batch make(Scope scope, Samples samples, List<Tensor> tensors, RandomKey key) {
        List<View> views = new ArrayList<>();
        long count = samples.ids().length;
        try (Scope staging = scope.open()) {
            Augmentation.Images images = ((ImageBatch.Layout) samples.layout()).images(tensors);
            Tensor id = tensors.getLast();
            for (int from = 0, to; from < crops.size(); from = to) {
                int size = crops.get(from).size();
                to = from + 1;
                while (to < crops.size() && crops.get(to).size() == size) {
                    to++;
                }
                // views of one size lie one after the other, so that they are a batch of their own without a copy
                Tensor together = scope.empty(DType.F32, (to - from) * count, size, size, channels);
                for (int v = from; v < to; v++) {
                    CropSettings crop = crops.get(v);
                    Tensor view = together.slice(0, (v - from) * count, (v - from + 1) * count);
                    augment(staging, images, settings(crop), id.operand(), key.child(v), view);
                    views.add(new View(crop.role(), size, view));
                }
            }
        }
        return new Batch(samples.ids(), List.copyOf(views), samples.labels());
    }

    @Override
    public Tensor plain(Scope scope, Dataset data, int[] indices) {
        Tensor result = scope.empty(DType.F32, indices.length, settings.side(), settings.side(), channels);
        try (Scope staging = scope.open()) {
            ImageBatch batch = ImageBatch.read(data, indices, channels);
            Augmentation.Images images = batch.layout()
                    .images(batch.stored().stream().map(s -> staging.fromHost(s.type(), s.writer(), s.shape())).toList());
            Augmentation.Settings plain =
                    Augmentation.Settings.plain(new Augmentation.Crop.Central(settings.resize()), true);
            augment(staging, images, plain, Operand.NONE, new RandomKey(0, 0, 0), result);
        }
        return result;
    }

    private static Augmentation.Settings settings(CropSettings crop) {
        return new Augmentation.Settings(
                new Augmentation.Crop.Random(
                        crop.area().get(0).floatValue(),
                        crop.area().get(1).floatValue(),
                        crop.aspect().get(0).floatValue(),
                        crop.aspect().get(1).floatValue()),
                true,
                (float) crop.flip(),
                (float) crop.jitter(),
                (float) crop.brightness(),
                (float) crop.contrast(),
                (float) crop.blur(),
                crop.blurKernel(),
                crop.blurSigma().get(0).floatValue(),
                crop.blurSigma().get(1).floatValue(),
                (float) crop.noise());
    }

    private void augment(
            Scope staging, Augmentation.Images images, Augmentation.Settings how, Operand ids, RandomKey key, Tensor view) {
        GatunStream stream = staging.device().stream();
        long bytes = Augmentation.workspace(stream, how, images, view.operand());
        Augmentation.run(stream, how, images, Operand.NONE, ids, staging.key(key),
                staging.constant(scale.mean(), channels).operand(), staging.constant(scale.std(), channels).operand(), view.operand(), Operand.NONE,
                staging.workspace(bytes));
        view.written();
    }

    @Override
    public byte[] picture(Tensor images, int row) {
        return Png.encode(scale.bytes(images, row));
    }

    @Override
    public byte[] picture(Element element) {
        return Png.encode(element);
    }
}
