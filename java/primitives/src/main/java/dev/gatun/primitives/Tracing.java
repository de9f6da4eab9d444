// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A call on its way to a {@link CallListener}: there is one only while somebody listens. */
final class Tracing {
    private final CallListener listener;
    private final @Nullable GatunStream behind;
    private final List<CallTrace.Argument> arguments = new ArrayList<>();
    private final Map<String, Number> constants = new LinkedHashMap<>();
    private String detail = "";
    private long start;

    /** @param behind the stream to wait for, where it works behind the host's back */
    private Tracing(CallListener listener, @Nullable GatunStream behind) {
        this.listener = listener;
        this.behind = behind;
    }

    /** For a call on a stream; null if nobody listens, or the call is only recorded. */
    static @Nullable Tracing of(GatunStream stream) {
        GatunContext context = stream.context();
        CallListener listener = context.listener();
        if (listener == null || stream.isRecording()) {
            return null;
        }
        return new Tracing(listener, context.kind() == DeviceKind.CPU ? null : stream);
    }

    /** For a call that the host waits for anyway; null if nobody listens. */
    static @Nullable Tracing of(GatunContext context) {
        CallListener listener = context.listener();
        return listener == null ? null : new Tracing(listener, null);
    }

    void argument(String name, Layout layout, boolean written) {
        arguments.add(new CallTrace.Argument(name, layout, written));
    }

    void constant(String name, Number value) {
        constants.put(name, value);
    }

    void detail(String text) {
        detail = text;
    }

    void begin() {
        settle();
        start = System.nanoTime();
    }

    void end(String operation, long bytes) {
        settle();
        listener.called(new CallTrace(operation, detail, List.copyOf(arguments), Map.copyOf(constants), bytes, start, System.nanoTime()));
    }

    private void settle() {
        if (behind != null) {
            behind.synchronize();
        }
    }
}
