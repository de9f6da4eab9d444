// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Owns tensors and gives their memory back together. A result lives in the youngest scope (the one opened last) among its
 * inputs' scopes, so what a step computes dies with the step, while parameters in an older scope stay. Closing a scope closes
 * the scopes opened in it. Using a tensor whose scope is closed is a {@link TensorException}. A scope belongs to one thread at
 * a time.
 */
public final class Scope implements AutoCloseable {
    private static final AtomicLong OPENED = new AtomicLong();

    private final Device device;
    private final @Nullable Scope parent;
    /** Where memory comes from; null: from the device's allocator, or from that of a step that is recorded. */
    private final @Nullable Allocator allocator;
    private final List<Block> blocks = new ArrayList<>();
    private final List<Scope> children = new ArrayList<>();
    /** Order of opening; the youngest of two scopes has the larger number. */
    final long number = OPENED.incrementAndGet();

    private boolean closed;

    Scope(Device device, @Nullable Scope parent) {
        this(device, parent, null);
    }

    private Scope(Device device, @Nullable Scope parent, @Nullable Allocator allocator) {
        this.device = device;
        this.parent = parent;
        this.allocator = allocator;
    }

    /** Opens a scope inside this one. */
    public Scope open() {
        return open(allocator);
    }

    /** As {@link #open()}; its memory and that of the scopes opened in it come from an allocator of their own. */
    Scope open(@Nullable Allocator from) {
        check();
        Scope child = new Scope(device, this, from);
        synchronized (children) {
            children.add(child);
        }
        return child;
    }

    /** The device whose memory this scope hands out. */
    public Device device() {
        return device;
    }

    /** Whether the scope still owns its tensors. */
    public boolean isOpen() {
        return !closed;
    }

    /** A tensor with undefined contents. */
    public Tensor empty(DType type, long... shape) {
        check();
        long elements = Shapes.elements(shape);
        Allocator from = allocator == null ? device.allocator() : allocator;
        return over(Block.from(from, Math.multiplyExact(elements, (long) type.bytes())), type, shape);
    }

    private Tensor over(Block block, DType type, long... shape) {
        adopt(block);
        return new Tensor(block, this, type, 0, shape.clone(), Shapes.contiguous(shape), new int[1]);
    }

    /** An f32 tensor with undefined contents. */
    public Tensor empty(long... shape) {
        return empty(DType.F32, shape);
    }

    /** An f32 tensor of zeros. */
    public Tensor zeros(long... shape) {
        return zeros(DType.F32, shape);
    }

    /** A tensor of zeros of any type. */
    public Tensor zeros(DType type, long... shape) {
        return empty(type, shape).zero();
    }

    /** An f32 tensor filled with a value. */
    public Tensor full(float value, long... shape) {
        return empty(DType.F32, shape).fill(value);
    }

    /**
     * A tensor with what the host writes. In a step that is recorded, {@code writer} is called again before every launch, to write the values
     * of that step; {@link #of} and its like cannot be part of such a step, for nobody could say whether their values change.
     *
     * @param writer fills host memory of as many bytes as the elements take, in the order of the elements
     */
    public Tensor fromHost(DType type, Consumer<MemorySegment> writer, long... shape) {
        Recording recording = device.recording();
        if (recording == null) {
            Tensor t = empty(type, shape);
            t.write(writer);
            return t;
        }
        check();
        long bytes = Math.multiplyExact(Shapes.elements(shape), (long) type.bytes());
        return over(new Block(recording.value(bytes, writer), null), type, shape);
    }

    /** As {@link #of}, of values that are the same in every step: they may be part of a recorded one. */
    public Tensor constant(float[] values, long... shape) {
        requireFit(values.length, shape);
        return fromHost(DType.F32, target -> target.copyFrom(MemorySegment.ofArray(values)), shape);
    }

    /** An f32 tensor with a copy of {@code values}; without a shape, a vector. */
    public Tensor of(float[] values, long... shape) {
        return filled(DType.F32, values.length, MemorySegment.ofArray(values), shape);
    }

    /** An i32 tensor with a copy of {@code values}; without a shape, a vector. */
    public Tensor ofInts(int[] values, long... shape) {
        return filled(DType.I32, values.length, MemorySegment.ofArray(values), shape);
    }

    /** An i64 tensor with a copy of {@code values}; without a shape, a vector. */
    public Tensor ofLongs(long[] values, long... shape) {
        return filled(DType.I64, values.length, MemorySegment.ofArray(values), shape);
    }

    private static void requireFit(int length, long... shape) {
        if (Shapes.elements(shape) != length) {
            throw new TensorException(length + " values do not fill the shape " + Shapes.text(shape));
        }
    }

    private Tensor filled(DType type, int length, MemorySegment values, long... shape) {
        long[] dims = shape.length == 0 ? new long[] {length} : shape;
        requireFit(length, dims);
        Tensor t = empty(type, dims);
        t.copyFrom(values);
        return t;
    }

    /** Device memory that an operation may use while it runs; the host does not touch it. */
    public MemorySegment workspace(long bytes) {
        return empty(DType.U8, bytes).memory();
    }

    /** A random key in this scope's memory, where operations read it. In a step that is recorded, a key of that step moves with it. */
    public MemorySegment key(RandomKey key) {
        Recording recording = device.recording();
        if (recording != null) {
            check();
            return recording.key(key);
        }
        MemorySegment memory = workspace(RandomKey.BYTES);
        MemorySegment written = MemorySegment.ofArray(new long[(int) (RandomKey.BYTES / Long.BYTES)]);
        key.write(written);
        device.upload(written, memory);
        return memory;
    }

    /**
     * An alias, in this scope, of a tensor that lives elsewhere: results computed from the alias live here. The memory stays
     * with its owner, and the alias keeps the tensor's place on its tape.
     */
    public Tensor attach(Tensor longer) {
        check();
        Tensor alias = longer.alias(this);
        alias.trackLike(longer);
        return alias;
    }

    /**
     * Says that a result is not used any more, nor its views, but for the gradient: its memory is given back as soon as no backward needs it,
     * now or in {@link Tape#lastBackward}, else with its scope. What backward can compute again ({@link FunctionContext#recomputable}) goes
     * now, if what it comes from is still as it was; that then stays until backward.
     *
     * @param result what was computed in an open scope; of memory that belongs to an older scope nothing is given back
     * @param used tensors that are still used: where they share the result's memory, it stays
     */
    public static void discard(Tensor result, Tensor... used) {
        Block block = result.block;
        if (block.owner != result.scope() || Arrays.stream(used).anyMatch(other -> other.block == block)) {
            return;
        }
        if (block.savers == 0) {
            release(block);
        } else if (block.remake != null && block.remake.possible()) {
            result.release();
        } else {
            block.discarded = true;
        }
    }

    /** Gives the memory of every tensor of this scope back to the device. Closing twice is allowed. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        List<Scope> open;
        synchronized (children) {
            open = List.copyOf(children);
        }
        for (int i = open.size() - 1; i >= 0; i--) {
            open.get(i).close();
        }
        closed = true;
        for (int i = blocks.size() - 1; i >= 0; i--) {
            blocks.get(i).giveBack();
        }
        blocks.clear();
        if (parent != null) {
            synchronized (parent.children) {
                parent.children.remove(this);
            }
        }
    }

    /** Tensors' blocks that this scope owns now. */
    int ownedBlocks() {
        return blocks.size();
    }

    void adopt(Block block) {
        check();
        block.owner = this;
        block.index = blocks.size();
        blocks.add(block);
    }

    private void disown(Block block) {
        int last = blocks.size() - 1;
        Block moved = blocks.get(last);
        blocks.set(block.index, moved);
        moved.index = block.index;
        blocks.remove(last);
    }

    /** Moves a block to another scope. */
    static void move(Block block, Scope to) {
        Scope from = block.owner;
        if (from != null && from != to) {
            from.disown(block);
            to.adopt(block);
        }
    }

    /** Gives one block back before the scope closes. */
    static void release(Block block) {
        Scope from = block.owner;
        if (from != null) {
            from.disown(block);
            block.giveBack();
        }
    }

    void check() {
        if (closed) {
            throw new TensorException("the scope is closed: its tensors are gone, and no new ones can be made in it");
        }
    }

    /** The one of two scopes of a device that was opened last: where results of tensors in both live. */
    public static Scope youngest(Scope a, Scope b) {
        if (a.device != b.device) {
            throw new TensorException("tensors of two devices in one operation: " + a.device.name() + " and " + b.device.name());
        }
        return a.number >= b.number ? a : b;
    }
}
