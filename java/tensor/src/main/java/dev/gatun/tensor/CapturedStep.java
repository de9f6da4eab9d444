// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.GatunGraph;
import java.util.Optional;
import java.util.function.LongUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A training step that is recorded once as a CUDA graph and launched again for every step after it: the same operations at the same
 * addresses, in one submission. First {@link #rehearse} runs it as usual, in a pool of memory that the record keeps; then {@link #record};
 * then {@link #launch} for that step and all that follow, as long as {@link #holds}.
 *
 * <p>Launches differ in what the host writes through {@link Scope#fromHost}, {@link Scope#key} and in tensors that are filled before a
 * launch. Inside the step the host may not read values back, nor write them by other ways, nor decide by the number of the step but
 * through {@link Device#decide}: a launch would repeat what held when it was recorded. A step that does cannot be recorded, and
 * {@link #refusal} says why.
 */
public final class CapturedStep implements AutoCloseable {
    private final Device device;
    private final Recording recording;
    private @Nullable GatunGraph graph;
    private long left;

    /** On a device that records: not a CPU. */
    public CapturedStep(Device device) {
        if (!device.records()) {
            throw new TensorException("device " + device.name() + " does not record steps");
        }
        this.device = device;
        recording = new Recording(device, device.pool());
    }

    /** Runs a step as usual and sees whether it could be recorded. */
    public void rehearse(long step, Runnable work) {
        recording.begin(step, false);
        long chunks = recording.chunkBytes();
        recording.pool().watch(false);
        try {
            device.under(recording, work);
        } finally {
            left = recording.pool().unwatch() - (recording.chunkBytes() - chunks);
        }
    }

    /**
     * Bytes of tensors that the rehearsed step made and left behind. A first step may make what stays; a step that always leaves some must
     * not be recorded, since the recording would leave tensors that nothing was computed into.
     */
    public long leftBehind() {
        return left;
    }

    /** A refusal of a step that leaves tensors behind. */
    public static String leaves(long bytes) {
        return "it leaves " + bytes + " bytes behind in every step";
    }

    /** Why the rehearsed step cannot be recorded; empty if nothing is known against it. */
    public Optional<String> refusal() {
        return Optional.ofNullable(recording.refusal());
    }

    /**
     * Records a step; nothing of it is computed, and the state of tensors is as before.
     *
     * @param work what was rehearsed, with the same shapes
     * @throws TensorException if it does something that a launch would not repeat; one line
     */
    public void record(long step, Runnable work) {
        if (graph != null) {
            throw new TensorException("the step has been recorded");
        }
        recording.begin(step, true);
        recording.pool().watch(true);
        left = 0;
        try {
            graph = GatunGraph.record(device.stream(), () -> device.under(recording, work));
        } catch (GatunException e) {
            throw new TensorException(e.getMessage(), e);
        } finally {
            left = recording.pool().unwatch();
        }
        recording.end();
        if (left != 0) {
            graph.close();
            graph = null;
            throw new TensorException(leaves(left));
        }
    }

    /** Whether it can be launched. */
    public boolean isRecorded() {
        return graph != null;
    }

    /**
     * Whether a record, or a launch, for this step does what the step would: the host decides as it did when the step was rehearsed or recorded, and the
     * memory that the recorded step uses is still there.
     */
    public boolean holds(long step) {
        return recording.holds(step);
    }

    /** Submits the step with the values of step {@code step}; what it reads besides must have been written to its tensors before. */
    public void launch(long step) {
        launch(step, () -> {});
    }

    /**
     * As {@link #launch(long)}.
     *
     * @param sent hears that the step's values have been sent, and that nothing but the recorded work is left to submit
     */
    public void launch(long step, Runnable sent) {
        if (graph == null) {
            throw new TensorException("launch: the step has not been recorded");
        }
        recording.prepare(step);
        sent.run();
        graph.launch(device.stream());
    }

    /**
     * Runs a part of a step whose random keys have another step number than the step's own.
     *
     * @param steps from a step's number to that of its keys
     */
    public static void keySteps(Device device, LongUnaryOperator steps, Runnable work) {
        Recording current = device.recording();
        if (current == null) {
            work.run();
            return;
        }
        current.keySteps(steps);
        try {
            work.run();
        } finally {
            current.keySteps(LongUnaryOperator.identity());
        }
    }

    /** Gives the memory back; nothing of the step may be running any more. */
    @Override
    public void close() {
        if (graph != null) {
            graph.close();
            graph = null;
        }
        recording.close();
        recording.pool().close();
    }
}
