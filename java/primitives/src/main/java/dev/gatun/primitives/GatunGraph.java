// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Work of a CUDA stream that was recorded once and is submitted any number of times: with the pointers of then, and with what the memory
 * behind them holds at the time. Close it before its stream.
 */
public final class GatunGraph implements AutoCloseable {
    private static final Downcall BEGIN = Downcall.pointers("gatun_stream_begin_capture", 2);
    private static final Downcall END = Downcall.pointers("gatun_stream_end_capture", 3);
    private static final Downcall LAUNCH = Downcall.pointers("gatun_graph_launch", 3);
    private static final Downcall DESTROY = Downcall.pointers("gatun_graph_destroy", 2);

    private final NativeLibrary library;
    private MemorySegment handle;

    private GatunGraph(NativeLibrary library, MemorySegment handle) {
        this.library = library;
        this.handle = handle;
    }

    /**
     * Records what {@code work} submits to the stream; nothing of it is done.
     *
     * @throws GatunException UNSUPPORTED on the CPU; INVALID_ARGUMENT if something cannot be recorded: allocating device memory, waiting. What
     *     {@code work} throws ends the recording too
     */
    public static GatunGraph record(GatunStream stream, Runnable work) {
        NativeLibrary library = stream.library();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            Call.check(BEGIN.invoke(library.address(BEGIN), stream.handle(), error), error);
            RuntimeException failure = null;
            stream.setRecording(true);
            try {
                work.run();
            } catch (RuntimeException e) {
                failure = e;
            } finally {
                stream.setRecording(false);
            }
            int status = END.invoke(library.address(END), stream.handle(), result, error);
            if (failure != null) {
                if (status == 0) {
                    new GatunGraph(library, result.get(ValueLayout.ADDRESS, 0)).close();
                }
                throw failure;
            }
            Call.check(status, error);
            return new GatunGraph(library, result.get(ValueLayout.ADDRESS, 0));
        }
    }

    /** Submits the recorded work to a stream of the same device. */
    public void launch(GatunStream stream) {
        if (handle.equals(MemorySegment.NULL)) {
            throw GatunException.invalid("graph_launch", "the graph is closed");
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(LAUNCH.invoke(library.address(LAUNCH), handle, stream.handle(), error), error);
        }
    }

    @Override
    public void close() {
        if (!handle.equals(MemorySegment.NULL)) {
            DESTROY.invoke(library.address(DESTROY), handle, MemorySegment.NULL);
            handle = MemorySegment.NULL;
        }
    }
}
