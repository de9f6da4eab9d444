// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A point in a stream's work that can be timed, and that the host and other streams can wait for. Close it before its context. */
public final class GatunEvent implements AutoCloseable {
    private static final Downcall CREATE = Downcall.pointers("gatun_event_create", 3);
    private static final Downcall DESTROY = Downcall.pointers("gatun_event_destroy", 2);
    private static final Downcall RECORD = Downcall.pointers("gatun_event_record", 3);
    private static final Downcall SYNCHRONIZE = Downcall.pointers("gatun_event_synchronize", 2);
    private static final Downcall QUERY = Downcall.pointers("gatun_event_query", 3);
    private static final Downcall ELAPSED = Downcall.pointers("gatun_event_elapsed", 4);

    private final GatunContext context;
    private MemorySegment handle;

    /** A new event of a device. */
    public GatunEvent(GatunContext context) {
        this.context = context;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment error = Call.newError(arena);
            Call.check(CREATE.invoke(context.library().address(CREATE), context.handle(), result, error), error);
            handle = result.get(ValueLayout.ADDRESS, 0);
        }
    }

    /** The event happens when everything submitted to the stream so far is done. Recorded again, it forgets the time before. */
    public void record(GatunStream stream) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(RECORD.invoke(context.library().address(RECORD), stream.handle(), handle(), error), error);
        }
    }

    /** The host waits until the event happens; not at all if it was never recorded. */
    public void synchronize() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = Call.newError(arena);
            Call.check(SYNCHRONIZE.invoke(context.library().address(SYNCHRONIZE), handle(), error), error);
        }
    }

    /** Whether the event has happened, without waiting; one that was never recorded has. */
    public boolean isDone() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment done = arena.allocate(ValueLayout.JAVA_INT);
            MemorySegment error = Call.newError(arena);
            Call.check(QUERY.invoke(context.library().address(QUERY), handle(), done, error), error);
            return done.get(ValueLayout.JAVA_INT, 0) != 0;
        }
    }

    /**
     * Waits for both events and gives the time between them.
     *
     * @return seconds
     * @throws GatunException INVALID_ARGUMENT if one of them has not been recorded
     */
    public double secondsSince(GatunEvent start) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment seconds = arena.allocate(ValueLayout.JAVA_DOUBLE);
            MemorySegment error = Call.newError(arena);
            Call.check(ELAPSED.invoke(context.library().address(ELAPSED), start.handle(), handle(), seconds, error), error);
            return seconds.get(ValueLayout.JAVA_DOUBLE, 0);
        }
    }

    MemorySegment handle() {
        if (handle.equals(MemorySegment.NULL)) {
            throw GatunException.invalid("event", "the event is closed");
        }
        context.handle();
        return handle;
    }

    @Override
    public void close() {
        if (!handle.equals(MemorySegment.NULL)) {
            DESTROY.invoke(context.library().address(DESTROY), handle, MemorySegment.NULL);
            handle = MemorySegment.NULL;
        }
    }
}
