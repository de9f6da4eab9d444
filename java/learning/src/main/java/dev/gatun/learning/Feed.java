// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Samples;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.UploadTarget;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The samples of an update at addresses that stay: what a recorded step reads. They come by way of {@link UploadTarget}s, so that the next
 * update's can be on their way while this one is computed.
 */
final class Feed implements AutoCloseable {
    private final Scope scope;
    private final List<Samples> samples;
    private final List<List<UploadTarget>> targets = new ArrayList<>();
    private final List<List<Tensor>> tensors = new ArrayList<>();
    private List<Samples> sent = List.of();

    /** @param like samples of each part of the update: places for others like them are made */
    Feed(Device device, List<Samples> like) {
        scope = device.scope().open();
        samples = like.stream()
                .map(s -> new Samples(new long[s.ids().length], new int[s.labels().length], s.stored(), s.layout()))
                .toList();
        for (Samples part : like) {
            targets.add(part.stored().stream().map(s -> device.uploads().target(s.type(), s.shape())).toList());
            tensors.add(part.stored().stream().map(s -> scope.empty(s.type(), s.shape())).toList());
        }
    }

    /** Whether these samples have a place here. */
    boolean fits(List<Samples> others) {
        return IntStream.range(0, samples.size()).allMatch(i -> samples.get(i).isLike(others.get(i)));
    }

    /** Sends samples on their way to the device, while it computes with those before. */
    void send(List<Samples> others) {
        sent = others;
        for (int part = 0; part < samples.size(); part++) {
            List<Samples.Stored> stored = others.get(part).stored();
            for (int i = 0; i < stored.size(); i++) {
                targets.get(part).get(i).fill(stored.get(i).writer());
            }
        }
    }

    /** Puts what was sent in place of the samples before, behind what the device does. */
    void take() {
        for (int part = 0; part < samples.size(); part++) {
            Samples from = sent.get(part);
            System.arraycopy(from.ids(), 0, samples.get(part).ids(), 0, from.ids().length);
            System.arraycopy(from.labels(), 0, samples.get(part).labels(), 0, from.labels().length);
            for (int i = 0; i < from.stored().size(); i++) {
                UploadTarget target = targets.get(part).get(i);
                try (Scope work = scope.open()) {
                    tensors.get(part).get(i).copyFrom(target.use(work));
                }
                target.release();
            }
        }
    }

    /** The samples of each part; the same arrays always. */
    List<Samples> samples() {
        return samples;
    }

    /** The tensors of one part's samples. */
    List<Tensor> tensors(int part) {
        return tensors.get(part);
    }

    @Override
    public void close() {
        targets.forEach(part -> part.forEach(UploadTarget::close));
        scope.close();
    }
}
