// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.NativeMemory;
import dev.gatun.primitives.Operand;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A view over memory that a {@link Scope} owns: a dtype, a shape and element strides. Operations make new tensors in the
 * youngest scope of their inputs; where an input is tracked by a {@link Tape}, so is the result. Images are (B, H, W, C),
 * tokens (B, N, C). Rank 0 is a scalar. Not safe for concurrent use.
 */
public final class Tensor extends TensorArithmetic {
    final Block block;
    private final Scope scope;
    private final DType dtype;
    final long offset;
    private final long[] shape;
    private final long[] strides;
    /** How often the contents were overwritten in place; shared by all views, so that the tape can see a stale saved tensor. */
    private final int[] version;
    private @Nullable Operand operand;

    private @Nullable Tape tape;
    private int node = -1;

    Tensor(Block block, Scope scope, DType dtype, long offset, long[] shape, long[] strides, int[] version) {
        this.block = block;
        this.scope = scope;
        this.dtype = dtype;
        this.offset = offset;
        this.shape = shape;
        this.strides = strides;
        this.version = version;
    }

    // ------------------------------------------------------------------------------------------------ description

    /** Sizes of the dimensions. */
    public long[] shape() {
        return shape.clone();
    }

    /** Size of one dimension; negative ones count from the end. */
    public long size(int dim) {
        return shape[Shapes.dim(dim, shape.length)];
    }

    /** Number of dimensions. */
    public int rank() {
        return shape.length;
    }

    /** Number of elements. */
    public long elements() {
        return Shapes.elements(shape);
    }

    /** Elements between neighbours along each dimension. */
    public long[] strides() {
        return strides.clone();
    }

    /** Type of the elements. */
    public DType dtype() {
        return dtype;
    }

    /** The scope in which results computed from this tensor live. */
    public Scope scope() {
        return scope;
    }

    /** The device that holds the memory. */
    public Device device() {
        return scope.device();
    }

    /** Whether the elements lie one after the other in row-major order. */
    public boolean isContiguous() {
        return Shapes.isContiguous(shape, strides);
    }

    /** Whether a tape records what is computed from this tensor. */
    public boolean tracked() {
        return tape != null;
    }

    /** Whether the memory is still owned by an open scope. */
    public boolean isLive() {
        return block.owner != null;
    }

    /**
     * This tensor as an operand of a primitive; a scalar becomes a vector of one.
     *
     * @throws TensorException if the tensor's scope is closed
     */
    public Operand operand() {
        checkLive();
        Operand o = operand;
        if (o == null) {
            o = shape.length == 0
                    ? new Operand(slice(), Layout.of(dtype, 1))
                    : new Operand(slice(), Layout.strided(dtype, shape, strides));
            operand = o;
        }
        return o;
    }

    /**
     * The memory from the first to the last element, for the host to read and write. It must not be used after the scope is closed. Whoever
     * writes through it calls {@link #written}.
     *
     * @throws TensorException if the tensor's scope is closed, or the host cannot reach the device's memory
     */
    public MemorySegment segment() {
        if (!device().sharesHostMemory()) {
            throw new TensorException("the host cannot reach the memory of " + describe() + " on device " + device().name()
                    + "; toArray, copyTo and copyFrom copy it");
        }
        return memory();
    }

    /** The memory wherever it is. */
    MemorySegment memory() {
        checkLive();
        return slice();
    }

    private MemorySegment slice() {
        long extent = 0;
        if (elements() > 0) {
            extent = 1;
            for (int i = 0; i < shape.length; i++) {
                extent += (shape[i] - 1) * strides[i];
            }
        }
        long bytes = dtype.bytes();
        return block.memory.asSlice(offset * bytes, extent * bytes);
    }

    private void checkLive() {
        if (block.owner == null) {
            throw new TensorException("a tensor of shape " + Shapes.text(shape) + " was used after its scope was closed");
        }
        scope.device().uses(block);
    }

    // ------------------------------------------------------------------------------------------------------ views

    /** The same elements in another shape; one size may be −1. A view where strides allow, else a copy. */
    public Tensor reshape(long... target) {
        return Views.reshape(this, target);
    }

    /** Elements {@code from} (inclusive) to {@code to} (exclusive) of one dimension, as a view. */
    public Tensor slice(int dim, long from, long to) {
        return Views.slice(this, dim, from, to);
    }

    /** The last two dimensions exchanged, as a view; {@link #matmul} takes such views as they are. */
    public Tensor transpose() {
        return transpose(-2, -1);
    }

    /** Two dimensions exchanged, as a view. */
    public Tensor transpose(int a, int b) {
        return Views.transpose(this, a, b);
    }

    /** This tensor if it is contiguous, else a contiguous copy. */
    public Tensor contiguous() {
        return isContiguous() ? this : Views.copy(this);
    }

    /** The elements of a u8, i32 or i64 tensor as f32, not recorded; of a floating tensor {@link #to}(f32). */
    public Tensor toFloat() {
        if (dtype.floating()) {
            return to(DType.F32);
        }
        Tensor t = scope.empty(DType.F32, shape);
        Kernels.copy(this, t);
        return t;
    }

    /** A copy of the elements in new memory, in the given scope, not tracked. */
    public Tensor copy(Scope target) {
        Tensor t = target.empty(dtype, shape);
        t.copyFrom(this);
        return t;
    }

    /** The tensors one after the other along a dimension; their other sizes must agree. */
    public static Tensor concat(int dim, Tensor... parts) {
        return Views.concat(dim, parts);
    }

    /**
     * A contiguous part of a contiguous tensor as a tensor in its own right: not recorded, and writes to it do not count as writes
     * to its neighbours. For flat buffers that hold many tensors.
     *
     * @param from index of the first element
     */
    public Tensor part(long from, long... partShape) {
        requireContiguous();
        checkLive();
        long count = Shapes.elements(partShape);
        if (from < 0 || count > elements() - from) {
            throw new TensorException("part: " + count + " elements from " + from + " of " + describe());
        }
        return new Tensor(
                block, scope, dtype, offset + from, partShape.clone(), Shapes.contiguous(partShape), new int[1]);
    }

    /** The same memory without a place on a tape: a stop-gradient. */
    public Tensor detach() {
        return alias(scope);
    }

    /**
     * Promotes this tensor: its memory moves to an older scope and lives as long as that (a part of a larger tensor is copied
     * instead). The result is not tracked.
     */
    public Tensor keep(Scope target) {
        target.check();
        checkLive();
        Scope owner = block.owner;
        if (owner == target || owner.number < target.number) {
            return alias(target);
        }
        if (elements() * dtype.bytes() * 2 < block.memory.byteSize() && block.memory.byteSize() > 256) {
            return copy(target);
        }
        Scope.move(block, target);
        return alias(target);
    }

    /**
     * Gives the memory of this result and its views back before its scope closes. Backward computes the contents again, from what is kept for it
     * from now on.
     *
     * @throws TensorException if the operation did not say how ({@link FunctionContext#recomputable}), or what it comes from is gone or was overwritten
     */
    public void release() {
        if (block.remake == null || !block.remake.possible()) {
            throw new TensorException("release: " + describe() + " cannot be computed again");
        }
        block.remake.from().block.savers++;
        Scope.release(block);
    }

    // ------------------------------------------------------------------------------------------- contents, in place

    /** The single element of an f32 tensor. */
    public float item() {
        require(DType.F32);
        if (elements() != 1) {
            throw new TensorException("item() of a tensor of shape " + Shapes.text(shape));
        }
        return toArray()[0];
    }

    /** Whether every element is finite: the check for a loss before its gradient is used. */
    public boolean finite() {
        return Kernels.nonfinite(this) == 0;
    }

    /**
     * {@link #finite} without a trip to the host.
     *
     * @param count i32 (1), overwritten with the number of elements that are not finite
     */
    public void countNonfinite(Tensor count) {
        Kernels.countNonfinite(this, count);
        count.written();
    }

    /** A copy of the elements in row-major order. */
    public float[] toArray() {
        require(DType.F32);
        float[] values = new float[Math.toIntExact(elements())];
        HostCopies.readInOrder(this, MemorySegment.ofArray(values));
        return values;
    }

    /** A copy of the elements of an i32 tensor in row-major order. */
    public int[] toIntArray() {
        require(DType.I32);
        int[] values = new int[Math.toIntExact(elements())];
        copyTo(MemorySegment.ofArray(values));
        return values;
    }

    /** A copy of the elements of an i64 tensor in row-major order. */
    public long[] toLongArray() {
        require(DType.I64);
        long[] values = new long[Math.toIntExact(elements())];
        copyTo(MemorySegment.ofArray(values));
        return values;
    }

    /**
     * Copies the elements of a contiguous tensor to host memory, once what the stream does has come so far.
     *
     * @param host as many bytes as the elements take
     */
    public void copyTo(MemorySegment host) {
        HostCopies.read(this, host);
    }

    /**
     * The elements of a contiguous tensor for the host to read: the memory itself where the host reaches it, else a copy in {@code arena}.
     */
    public MemorySegment host(Arena arena) {
        return HostCopies.readable(this, arena);
    }

    /**
     * Overwrites the elements of a contiguous tensor. Not recorded.
     *
     * @param writer fills host memory of as many bytes as the elements take: the tensor's own where the host reaches it, else a copy that is
     *     uploaded then
     */
    public void write(Consumer<MemorySegment> writer) {
        HostCopies.write(this, writer);
    }

    /** A contiguous copy in a scope of this or another device. Not recorded. */
    public Tensor to(Scope target) {
        return target.device() == device() ? copy(target) : HostCopies.across(this, target);
    }

    /** Overwrites the elements with another tensor's of the same shape and dtype. Not recorded. */
    public void copyFrom(Tensor source) {
        Scope.youngest(scope, source.scope);
        if (!java.util.Arrays.equals(shape, source.shape) || dtype != source.dtype) {
            throw new TensorException("copyFrom: " + source.describe() + " does not fit into " + describe());
        }
        Kernels.copy(source, this);
        written();
    }

    /** Overwrites the elements with a floating tensor's of the same shape, each rounded to this one's dtype. Not recorded. */
    public void castFrom(Tensor source) {
        if (!java.util.Arrays.equals(shape, source.shape)) {
            throw new TensorException("castFrom: " + source.describe() + " does not fit into " + describe());
        }
        Cast.require(source, dtype);
        Kernels.copy(source, this);
        written();
    }

    /** Overwrites the elements of a contiguous f32 tensor. Not recorded. */
    public void copyFrom(float... values) {
        HostCopies.overwrite(this, DType.F32, values.length, MemorySegment.ofArray(values));
    }

    /** Overwrites the elements of a contiguous i32 tensor. Not recorded. */
    public void copyFrom(int... values) {
        HostCopies.overwrite(this, DType.I32, values.length, MemorySegment.ofArray(values));
    }

    /** Overwrites the elements of a contiguous i64 tensor. Not recorded. */
    public void copyFrom(long... values) {
        HostCopies.overwrite(this, DType.I64, values.length, MemorySegment.ofArray(values));
    }

    /** Overwrites the elements of a contiguous u8 tensor. Not recorded. */
    public void copyFrom(byte... values) {
        HostCopies.overwrite(this, DType.U8, values.length, MemorySegment.ofArray(values));
    }

    /**
     * Overwrites the elements of a contiguous tensor with host memory, which may be written again at once. Not recorded.
     *
     * @param host as many bytes as the elements take
     */
    public void copyFrom(MemorySegment host) {
        HostCopies.overwrite(this, host);
    }

    /** Sets every element of a floating tensor, rounded to its type; returns this tensor. Not recorded. */
    public Tensor fill(float value) {
        if (!dtype.floating()) {
            throw new TensorException("fill: needs f32, bf16 or f16, given " + describe());
        }
        Kernels.fill(this, value);
        written();
        return this;
    }

    /** Sets every element to zero; returns this tensor. Not recorded. */
    public Tensor zero() {
        if (isContiguous()) {
            NativeMemory.clear(device().stream(), memory());
            written();
            return this;
        }
        return fill(0f);
    }

    /** Adds {@code factor} times another floating tensor of the same shape in place, rounded once. Not recorded. */
    public void addInPlace(Tensor other, float factor) {
        Kernels.accumulate(this, other, factor);
        written();
    }

    /** Tells the tape that the elements were overwritten, so that a backward pass that needed the old ones fails clearly. */
    public void written() {
        version[0]++;
        block.remake = null;
    }

    /** How often the elements were overwritten in place, by this view or another: what was made of them is stale when this has changed. */
    public int version() {
        return version[0];
    }

    /** Type and shape in words, for messages. */
    public String describe() {
        return dtype + Shapes.text(shape);
    }

    @Override
    public String toString() {
        return "Tensor " + describe() + (tape != null ? " tracked" : "") + (isLive() ? "" : " closed");
    }

    // ---------------------------------------------------------------------------------------------- for the package

    @Override
    Tensor self() {
        return this;
    }


    long[] shapeArray() {
        return shape;
    }

    long[] stridesArray() {
        return strides;
    }

    @Nullable Tape tape() {
        return tape;
    }

    int node() {
        return node;
    }

    void track(Tape on, int at) {
        tape = on;
        node = at;
    }

    void trackLike(Tensor other) {
        tape = other.tape;
        node = other.node;
    }

    Tensor alias(Scope in) {
        return new Tensor(block, in, dtype, offset, shape, strides, version);
    }

    Tensor view(Scope in, long extraOffset, long[] newShape, long[] newStrides) {
        checkLive();
        return new Tensor(block, in, dtype, offset + extraOffset, newShape, newStrides, version);
    }

    /** The same view of another block of the same size. */
    Tensor over(Block other, Scope in) {
        Tensor t = new Tensor(other, in, dtype, offset, shape, strides, new int[1]);
        t.trackLike(this);
        return t;
    }

    void require(DType type) {
        if (dtype != type) {
            throw new TensorException("needs " + type + ", given " + describe());
        }
    }

    void requireContiguous() {
        if (!isContiguous()) {
            throw new TensorException("needs a contiguous tensor, given " + describe());
        }
    }
}
