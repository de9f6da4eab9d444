// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Operations on one stream run in order. A CPU stream runs an operation inside the call. Not for use by two threads at once. */
public final class GatunStream implements AutoCloseable {
    private static final Downcall CREATE = Downcall.pointers("gatun_stream_create", 3);
    private static final Downcall DESTROY = Downcall.pointers("gatun_stream_destroy", 2);
    private static final Downcall SYNCHRONIZE = Downcall.pointers("gatun_stream_synchronize", 2);
    private static final Downcall HANDLE = Downcall.pointers("gatun_stream_handle", 3);
    private static final Downcall WAIT = Downcall.pointers("gatun_stream_wait_event", 3);

    private final GatunContext context;
    private MemorySegment handle;
    private volatile @Nullable Thread recorder;
    /** What its operations are called with, one at a time; null before the first. */
    volatile @Nullable Call call;

    private GatunStream(GatunContext context, MemorySegment handle) {
        this.context = context;
        this.handle = handle;
    }

    static GatunStream create(GatunContext context) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment error = Call.newError(arena);
            Call.check(CREATE.invoke(context.library().address(CREATE), context.handle(), result, error), error);
            return new GatunStream(context, result.get(ValueLayout.ADDRESS, 0));
        }
    }

    /** The device it is a stream of. */
    public GatunContext context() {
        return context;
    }

    NativeLibrary library() {
        return context.library();
    }

    MemorySegment handle() {
        if (handle == MemorySegment.NULL) {
            throw GatunException.invalid("stream", "the stream is closed");
        }
        context.handle();
        return handle;
    }

    /** Waits until everything submitted to this stream is done. */
    public void synchronize() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(SYNCHRONIZE.invoke(library().address(SYNCHRONIZE), handle(), error), error);
        }
    }

    /**
     * The CUDA stream behind it (a {@code cudaStream_t}), for a library that takes one. It stays this stream's.
     *
     * @throws GatunException UNSUPPORTED on the CPU
     */
    public MemorySegment cudaStream() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment error = Call.newError(arena);
            Call.check(HANDLE.invoke(library().address(HANDLE), handle(), result, error), error);
            return result.get(ValueLayout.ADDRESS, 0);
        }
    }

    /**
     * What is submitted to this stream from now on is done after the event, as it was recorded last; the host does not wait. An event that was
     * never recorded is not waited for.
     */
    public void waitFor(GatunEvent event) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(WAIT.invoke(library().address(WAIT), handle(), event.handle(), error), error);
        }
    }

    /** Whether somebody listens to calls on this stream ({@link GatunContext#listen}), and this thread is not recording them. */
    public boolean isListenedTo() {
        return context.listener() != null && !isRecording();
    }

    /**
     * Makes a call of another library's on this stream, and tells whoever listens.
     *
     * @param operation its name
     * @param arguments its operands
     * @param work the call
     */
    public void trace(String operation, List<CallTrace.Argument> arguments, Runnable work) {
        Tracing tracing = Tracing.of(this);
        if (tracing == null) {
            work.run();
            return;
        }
        arguments.forEach(argument -> tracing.argument(argument.name(), argument.layout(), argument.written()));
        tracing.begin();
        work.run();
        tracing.end(operation, 0);
    }

    /** Whether the calling thread is recording a {@link GatunGraph} of this stream: what it submits is not done now. */
    public boolean isRecording() {
        return recorder == Thread.currentThread();
    }

    void setRecording(boolean recording) {
        recorder = recording ? Thread.currentThread() : null;
    }

    @Override
    public void close() {
        if (!handle.equals(MemorySegment.NULL)) {
            DESTROY.invoke(library().address(DESTROY), handle, MemorySegment.NULL);
            handle = MemorySegment.NULL;
        }
    }
}
