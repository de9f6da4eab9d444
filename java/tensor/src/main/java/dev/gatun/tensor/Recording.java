// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.RandomKey;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.LongUnaryOperator;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * What a device knows while a step is rehearsed or recorded: the pool that the step's memory comes from, the values that the host writes
 * anew before every launch, the host's decisions that a launch must find unchanged, and what stands against recording at all.
 */
final class Recording {
    private static final long CHUNK = 1 << 16;
    private static final long ALIGNMENT = 256;

    /** Device memory for values, and the host memory they are written to first. */
    private record Chunk(MemorySegment device, MemorySegment host) {}

    private record Value(MemorySegment host, Consumer<MemorySegment> writer) {}

    private record Decision(Supplier<?> now, Object then) {}

    private record Drawn(RandomKey key, boolean ofStep) {}

    private final Device device;
    private final Allocator pool;
    private final Thread thread = Thread.currentThread();
    private final Arena arena = Arena.ofShared();
    private final List<Chunk> chunks = new ArrayList<>();
    private final List<Value> values = new ArrayList<>();
    private final List<Decision> decisions = new ArrayList<>();
    /** What the step used; once it is recorded, of that what was there before it. */
    private final Set<Block> used = Collections.newSetFromMap(new IdentityHashMap<>());
    /** Of the rehearsal, in order. */
    private final List<Drawn> drawn = new ArrayList<>();
    private int draws;
    private LongUnaryOperator keySteps = LongUnaryOperator.identity();
    private int chunk;
    private long filled;
    private boolean recording;
    private boolean writing;
    private @Nullable String refusal;
    private long first;
    private long now;

    Recording(Device device, Allocator pool) {
        this.device = device;
        this.pool = pool;
    }

    Allocator pool() {
        return pool;
    }

    /** Whether it is about what the calling thread does. */
    boolean concerns(Thread caller) {
        return thread == caller && !writing;
    }

    /** Begins a rehearsal, which computes, or a recording, which does not. */
    void begin(long step, boolean records) {
        recording = records;
        first = step;
        now = step;
        refusal = null;
        values.clear();
        decisions.clear();
        used.clear();
        if (!records) {
            drawn.clear();
        }
        draws = 0;
        chunk = 0;
        filled = 0;
    }

    /** After a recording. */
    void end() {
        used.removeIf(block -> block.owner == null);
    }

    void uses(Block block) {
        if (recording) {
            used.add(block);
        }
    }

    @Nullable String refusal() {
        return refusal;
    }

    /** Something that a launch would not repeat: noted in a rehearsal, an error in a recording. */
    void refuse(String reason) {
        if (recording) {
            throw new TensorException(reason);
        }
        if (refusal == null) {
            refusal = reason;
        }
    }

    /** Device memory with what {@code writer} writes; it writes again before every launch. */
    MemorySegment value(long bytes, Consumer<MemorySegment> writer) {
        Chunk in = chunkFor(bytes);
        long at = filled;
        filled = (filled + bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        MemorySegment host = in.host().asSlice(at, bytes);
        MemorySegment memory = in.device().asSlice(at, bytes);
        Value value = new Value(host, writer);
        values.add(value);
        if (!recording) {
            write(value);
            device.send(host, memory);
        }
        return memory;
    }

    /** Of the pool, for values. */
    long chunkBytes() {
        return chunks.stream().mapToLong(c -> c.device().byteSize()).sum();
    }

    private Chunk chunkFor(long bytes) {
        while (chunk < chunks.size() && filled + bytes > chunks.get(chunk).host().byteSize()) {
            chunk++;
            filled = 0;
        }
        if (chunk == chunks.size()) {
            MemorySegment memory = pool.allocate(Math.max(CHUNK, bytes));
            MemorySegment host = arena.allocate(memory.byteSize(), ALIGNMENT);
            chunks.add(new Chunk(memory, host));
            filled = 0;
        }
        return chunks.get(chunk);
    }

    private void write(Value value) {
        asWriter(() -> {
            value.writer().accept(value.host());
            return value;
        });
    }

    /**
     * The key of the step that a launch is for: a key of the recorded step moves with it, another stays. Which it is shows in the rehearsal,
     * which was of another step.
     */
    MemorySegment key(RandomKey key) {
        LongUnaryOperator steps = keySteps;
        boolean ofStep = key.step() == steps.applyAsLong(first);
        if (!recording) {
            drawn.add(new Drawn(key, ofStep));
        }
        boolean moves = recording ? moves(key, ofStep) : ofStep;
        return value(RandomKey.BYTES, target -> (moves ? key.step(steps.applyAsLong(now)) : key).write(target));
    }

    private boolean moves(RandomKey key, boolean ofStep) {
        if (draws < drawn.size()) {
            Drawn before = drawn.get(draws++);
            if (before.ofStep() && ofStep && before.key().step(key.step()).equals(key)) {
                return true;
            }
            if (before.key().equals(key)) {
                return false;
            }
        }
        throw new TensorException(caller(false) + " draws under " + key + ", which is neither the step's nor what it was in the step before");
    }

    void keySteps(LongUnaryOperator steps) {
        keySteps = steps;
    }

    <T> T decide(Supplier<T> decision) {
        T then = asWriter(decision);
        decisions.add(new Decision(decision, then));
        return then;
    }

    private <T> T asWriter(Supplier<T> read) {
        boolean before = writing;
        writing = true;
        try {
            return read.get();
        } finally {
            writing = before;
        }
    }

    /** Whether the host decides now as it did then, and the memory that the step uses is still there. */
    boolean holds(long step) {
        now = step;
        return used.stream().allMatch(block -> block.owner != null)
                && decisions.stream().allMatch(decision -> asWriter(decision.now()).equals(decision.then()));
    }

    /** Writes all values for a step and sends them to the device. */
    void prepare(long step) {
        now = step;
        values.forEach(this::write);
        for (int i = 0; i <= chunk && i < chunks.size(); i++) {
            Chunk c = chunks.get(i);
            long bytes = i == chunk ? filled : c.host().byteSize();
            if (bytes > 0) {
                device.send(c.host().asSlice(0, bytes), c.device().asSlice(0, bytes));
            }
        }
    }

    /**
     * Who outside this module asked: for messages.
     *
     * @param beyond whether it is the one who asked the class that asked here
     */
    static String caller(boolean beyond) {
        List<StackWalker.StackFrame> outside = StackWalker.getInstance()
                .walk(frames -> frames.filter(frame -> !frame.getClassName().startsWith("dev.gatun.tensor.")).toList());
        return outside.stream()
                .dropWhile(frame -> beyond && frame.getClassName().equals(outside.getFirst().getClassName()))
                .findFirst()
                .map(frame -> frame.getClassName().substring(frame.getClassName().lastIndexOf('.') + 1) + "." + frame.getMethodName()
                        + " (" + frame.getFileName() + ":" + frame.getLineNumber() + ")")
                .orElse("the step");
    }

    void close() {
        chunks.forEach(c -> pool.release(c.device()));
        chunks.clear();
        arena.close();
    }
}
