// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * A data set whose elements are kept as they were read, outside of the Java heap, until a limit is reached: those that came first stay. An
 * epoch visits every element once, so that which ones are kept does not matter.
 */
public final class CachedDataset extends ForwardingDataset {
    private final AtomicReferenceArray<Element> kept;
    private final AtomicLong left;

    private CachedDataset(Dataset data, long limit) {
        super(data);
        kept = new AtomicReferenceArray<>(data.size());
        left = new AtomicLong(limit);
    }

    /**
     * Keeps what is read.
     *
     * @param data the data set; one that is in memory already is given back as it is
     * @param limit bytes of elements that are kept at most; 0: none
     */
    public static Dataset of(Dataset data, long limit) {
        if (limit < 0) {
            throw new IllegalArgumentException("a cache of " + limit + " bytes");
        }
        return limit == 0 || data.resident() ? data : new CachedDataset(data, limit);
    }

    @Override
    public Element read(int index) {
        Element known = kept.get(index);
        if (known != null) {
            return known;
        }
        Element element = data.read(index);
        long bytes = element.data().byteSize();
        if (left.addAndGet(-bytes) < 0) {
            left.addAndGet(bytes);
            return element;
        }
        MemorySegment copy = Arena.ofAuto().allocate(Math.max(bytes, 1)).asSlice(0, bytes).copyFrom(element.data()).asReadOnly();
        Element stays = new Element(element.shape(), copy);
        if (!kept.compareAndSet(index, null, stays)) {
            // another thread has read it too
            left.addAndGet(bytes);
        }
        return stays;
    }
}
