// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunEvent;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;

/**
 * A device tensor that the host fills again and again while the device computes: a batch's pixels and ids. One thread fills it, which may
 * be a loader's; the thread that computes uses it and gives it back:
 *
 * <pre>{@code
 * target.fill(memory -> pixels.copyTo(memory));   // returns when the bytes are written to pinned memory; the copy goes on
 * Tensor pixels = target.use(step);               // what is computed from now on sees them
 * ...
 * target.release();                               // what was computed so far was the last to need them
 * }</pre>
 *
 * The host waits for nothing in between, the streams wait for each other. A copy overlaps the computation that was told after the release: a
 * step that copies the tensor to a place of its own and releases it at once leaves it free for the next batch. A recorded step fills, uses and
 * releases outside of what is recorded.
 */
public final class UploadTarget implements AutoCloseable {
    private enum State {
        FREE,
        FILLED,
        USED,
        CLOSED
    }

    private final Uploads uploads;
    private final Device device;
    private final Scope scope;
    private final Tensor tensor;
    /** Behind the last use by the computing stream. */
    private final GatunEvent used;
    /** Behind the last copy. */
    private final GatunEvent filled;

    private State state = State.FREE;

    UploadTarget(Uploads uploads, Device device, DType type, long... shape) {
        this.uploads = uploads;
        this.device = device;
        refuseInRecords("makes");
        this.scope = device.scope().open();
        this.tensor = scope.empty(type, shape);
        this.used = uploads.event();
        this.filled = uploads.event();
        // the memory may have been another tensor's, which the device still works on
        used.record(device.stream());
    }

    /**
     * Lets {@code writer} write as many bytes as the tensor has, in row-major order, and starts their copy to the device. Filling twice before
     * {@link #use} overwrites. Any thread may call it.
     *
     * @throws TensorException if the tensor is in use or the target is closed
     */
    public synchronized void fill(Consumer<MemorySegment> writer) {
        if (state == State.USED || state == State.CLOSED) {
            throw new TensorException("an upload target is filled when it is free: this one is " + name());
        }
        refuseInRecords("fills");
        if (device.sharesHostMemory()) {
            writer.accept(tensor.memory());
        } else {
            uploads.fill(tensor.memory(), writer, used, filled);
        }
        tensor.written();
        state = State.FILLED;
    }

    /**
     * The tensor, as an alias in {@code step}: what the device is told to compute from now on sees what was filled in last.
     *
     * @throws TensorException if it was not filled since the last use
     */
    public synchronized Tensor use(Scope step) {
        if (state != State.FILLED) {
            throw new TensorException("an upload target is used when it is filled: this one is " + name());
        }
        refuseInRecords("uses");
        device.stream().waitFor(filled);
        state = State.USED;
        return step.attach(tensor);
    }

    /**
     * Says that the device has been told everything that reads the tensor: what is filled in next overwrites it after that.
     *
     * @throws TensorException if it is not in use
     */
    public synchronized void release() {
        if (state != State.USED) {
            throw new TensorException("an upload target is released when it is in use: this one is " + name());
        }
        refuseInRecords("releases");
        used.record(device.stream());
        state = State.FREE;
    }

    /** Gives the memory back once the device is done with it. Closing twice is allowed. */
    @Override
    public synchronized void close() {
        if (state != State.CLOSED) {
            state = State.CLOSED;
            // whoever gets the memory next comes after a copy that nobody waited for
            device.stream().waitFor(filled);
            scope.close();
            used.close();
            filled.close();
            uploads.closed(this);
        }
    }

    private void refuseInRecords(String does) {
        device.outsideRecords(() -> Recording.caller(false) + " " + does + " an upload target");
    }

    private String name() {
        return switch (state) {
            case FREE -> "free";
            case FILLED -> "filled";
            case USED -> "in use";
            case CLOSED -> "closed";
        };
    }
}
