// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.DeviceKind;
import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.MemoryUsage;
import dev.gatun.primitives.NativeMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Locale;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Where tensors live and operations run: one native context with one stream, a caching allocator and a GEMM. There is no global
 * state; a program may use several devices, and tensors of two devices do not mix.
 */
public final class Device implements AutoCloseable {
    private final DeviceKind kind;
    private final int ordinal;
    private final GatunContext context;
    private final GatunStream stream;
    private final Allocator.Source source;
    private final Allocator.Usage usage = new Allocator.Usage();
    private final Allocator allocator;
    private final Libraries libraries;
    private final Scope root;
    private final Uploads uploads;
    private final int threads;
    private final Lanes lanes;
    private volatile @Nullable Recording recording;
    private boolean closed;

    private Device(DeviceKind kind, int ordinal, GatunContext context, Function<GatunStream, Libraries> open) {
        this.kind = kind;
        this.ordinal = ordinal;
        this.context = context;
        this.stream = context.stream();
        this.threads = context.threads();
        try {
            this.libraries = open.apply(stream);
        } catch (RuntimeException e) {
            stream.close();
            context.close();
            throw e;
        }
        this.source = new Allocator.Source() {
            @Override
            public MemorySegment allocate(long bytes) {
                return NativeMemory.allocate(context, bytes);
            }

            @Override
            public void free(MemorySegment memory) {
                NativeMemory.free(context, memory);
            }

            @Override
            public void trim() {
                Device.this.trim();
            }

            @Override
            public GatunException refusal(long bytes, long trimmed, GatunException refused) {
                return outOfMemory(bytes, trimmed, refused);
            }
        };
        this.allocator = new Allocator(source, usage, Allocator.Fit.NEAR);
        this.root = new Scope(this, null);
        this.lanes = new Lanes(stream, threads, () -> new Allocator(source, usage, Allocator.Fit.ANY));
        this.uploads = new Uploads(this, context);
    }

    /** What computes products and convolutions. */
    private record Libraries(Gemm gemm, ConvolutionLibrary convolution) {
        static Libraries cuda(GatunStream stream, int ordinal, CudaSettings settings) {
            boolean own = settings.gemm() == CudaSettings.Products.GATUN;
            Gemm gemm = own ? new KernelGemm() : CudaLibrary.gemm(stream, ordinal, settings.tf32());
            try {
                boolean cudnn = settings.convolution() == CudaSettings.Convolutions.CUDNN;
                return new Libraries(gemm, cudnn ? CudaLibrary.convolution(ordinal, settings.tf32()) : new KernelConvolution());
            } catch (RuntimeException e) {
                gemm.close();
                throw e;
            }
        }

        static Libraries of(Gemm gemm) {
            return new Libraries(gemm, new KernelConvolution());
        }

        void close() {
            convolution.close();
            gemm.close();
        }
    }

    /**
     * The CPU.
     *
     * @param threads how many threads an operation may use; 0 means all that the process may use. Results of Gatun's own
     *     kernels do not depend on it.
     */
    public static Device cpu(int threads) {
        return cpu(threads, 0);
    }

    /**
     * As {@link #cpu(int)} with a limit.
     *
     * @param memoryLimit bytes that tensors may take at once, the cache included; 0 means as many as there are. What goes beyond is a
     *     {@link GatunException} OUT_OF_MEMORY, after which the device is as before
     */
    public static Device cpu(int threads, long memoryLimit) {
        return new Device(DeviceKind.CPU, 0, GatunContext.cpu(threads, memoryLimit), stream -> Libraries.of(new CpuGemm(new OneDnn())));
    }

    /** The CPU with another library of products. */
    static Device cpu(int threads, Gemm gemm) {
        return new Device(DeviceKind.CPU, 0, GatunContext.cpu(threads), stream -> Libraries.of(gemm));
    }

    /** A CUDA device with the libraries of {@link CudaSettings#DEFAULT}. */
    public static Device cuda(int ordinal) {
        return cuda(ordinal, CudaSettings.DEFAULT);
    }

    /**
     * A CUDA device.
     *
     * @param ordinal which one, from 0
     * @throws dev.gatun.primitives.GatunException NO_DEVICE where there is no library for CUDA, no driver, no device, or not the library that the
     *     settings name; the message says which
     */
    public static Device cuda(int ordinal, CudaSettings settings) {
        return cuda(ordinal, settings, 0);
    }

    /** As {@link #cuda(int, CudaSettings)} with a limit, as {@link #cpu(int, long)} has one: for a device that others use too. */
    public static Device cuda(int ordinal, CudaSettings settings, long memoryLimit) {
        return new Device(
                DeviceKind.CUDA, ordinal, GatunContext.cuda(ordinal, memoryLimit), stream -> Libraries.cuda(stream, ordinal, settings));
    }

    /** System property: which streams of emulated devices are late ({@link GatunContext.Late}, in lower case), for tests of whole programs. */
    static final String LATE = "gatun.emulated.late";

    /** The CUDA kernels on the emulated device: slow and strict, for tests. Its memory is its own, as a GPU's is. */
    public static Device emulated() {
        return emulated(0);
    }

    /** As {@link #emulated()} with a limit, as {@link #cpu(int, long)} has one. */
    public static Device emulated(long memoryLimit) {
        GatunContext.Late late = GatunContext.Late.valueOf(System.getProperty(LATE, "none").toUpperCase(Locale.ROOT));
        return emulated(memoryLimit, late);
    }

    /** With late streams; the first is the computing one. */
    static Device emulated(long memoryLimit, GatunContext.Late late) {
        return new Device(
                DeviceKind.EMULATED, 0, GatunContext.emulated(memoryLimit, late), stream -> Libraries.of(new KernelGemm()));
    }

    /** The emulated device with the libraries of a CUDA device, or with what stands in for them. */
    static Device emulated(CudaSettings settings) {
        return new Device(DeviceKind.EMULATED, 0, GatunContext.emulated(), stream -> Libraries.cuda(stream, 0, settings));
    }

    /** Threads an operation uses. */
    public int threads() {
        return threads;
    }

    /** This CPU's threads for chains of operations side by side; on other devices chains run one after the other. */
    public Lanes lanes() {
        return lanes;
    }

    /** The device in words, for logs and reports. */
    public String name() {
        return kind == DeviceKind.CUDA ? kind + ":" + ordinal : kind.toString();
    }

    /** What it computes on. */
    public DeviceKind kind() {
        return kind;
    }

    /** Whether the host reaches its memory: {@link Tensor#segment} works. */
    public boolean sharesHostMemory() {
        return kind == DeviceKind.CPU;
    }

    /** Whether operations take tensors of a type as their activations: f32 everywhere, bf16 and f16 on CUDA devices, real or emulated. */
    public boolean stores(DType type) {
        return type == DType.F32 || type.floating() && kind != DeviceKind.CPU;
    }

    /** The stream on which this device's operations run. */
    public GatunStream stream() {
        return stream;
    }

    /** The root scope: tensors in it live until the device is closed. */
    public Scope scope() {
        return root;
    }

    /** Matrix multiplication on this device. */
    public Gemm gemm() {
        return libraries.gemm;
    }

    /** Convolution on this device. */
    public ConvolutionLibrary convolution() {
        return libraries.convolution;
    }

    /** Copies from the host that overlap what the device computes. */
    public Uploads uploads() {
        return uploads;
    }

    /** How often the allocator had to ask the system for memory. Constant once a step's shapes have been seen. */
    public long allocatorRequests() {
        return allocator.requests() + lanes.requests();
    }

    /** Bytes that open scopes own now, and recorded steps keep. */
    public long liveBytes() {
        return usage.live();
    }

    /** The largest value {@link #liveBytes} has had, since {@link #resetPeak} if it was called. */
    public long peakBytes() {
        return usage.peak();
    }

    /** Bytes obtained from the system and not given back: live plus cached. */
    public long heldBytes() {
        return usage.held();
    }

    /**
     * The most device memory that this process's use of it through this object took at once, since {@link #resetPeak} if it was called: tensors,
     * what the cache kept beside them, recorded steps, and the workspaces of libraries. What the driver takes for a context, its modules and
     * its graphs is not counted, nor is pinned memory of the host.
     */
    public long peakHeldBytes() {
        // workspaces are made once and stay
        long beside = NativeMemory.usage(context).allocated() - usage.held();
        return usage.heldPeak() + Math.max(0, beside);
    }

    /** From now on peaks are of what is yet to come. */
    public void resetPeak() {
        usage.resetPeak();
    }

    /** Gives cached memory back to the system, for instance between a training run and an evaluation of other shapes. */
    public void trim() {
        allocator.trim();
        lanes.trim();
    }

    /** Frees everything; tensors of this device can no longer be used. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            uploads.close();
            lanes.close();
            root.close();
            allocator.close();
            libraries.close();
            stream.close();
            context.close();
        }
    }

    private GatunException outOfMemory(long bytes, long trimmed, GatunException refused) {
        MemoryUsage memory = NativeMemory.usage(context);
        String room = memory.limit() > 0 && memory.limit() - memory.allocated() < bytes
                ? "the limit is " + memory.limit()
                : memory.deviceFree() + " of its " + memory.deviceTotal() + " are free"
                        + (memory.deviceFree() >= bytes ? ", in pieces or beyond a limit of the process" : "");
        GatunException error = new GatunException(
                GatunException.Status.OUT_OF_MEMORY, "allocate", "device " + name() + " has no room for " + bytes + " bytes: " + usage.live()
                        + " are in use, " + trimmed + " were cached and have been given back; " + room);
        error.initCause(refused);
        return error;
    }

    /** Copies host memory of any kind into this device's, behind what the stream does; the host memory may be written again at once. */
    void upload(MemorySegment host, MemorySegment memory) {
        if (sharesHostMemory()) {
            MemorySegment.copy(host, 0, memory, 0, memory.byteSize());
            return;
        }
        outsideRecords(() -> Recording.caller(false) + " writes values of the host's into a tensor");
        send(host, memory);
    }

    /** As {@link #upload}, of what {@code writer} writes. */
    void upload(MemorySegment memory, Consumer<MemorySegment> writer) {
        outsideRecords(() -> Recording.caller(false) + " writes values of the host's into a tensor");
        uploads.write(memory, writer);
    }

    /** As {@link #upload}, also for what a recorded step's launches need. */
    void send(MemorySegment host, MemorySegment memory) {
        uploads.send(host, memory);
    }

    /** Copies this device's memory to the host's once the stream has come so far. */
    void download(MemorySegment memory, MemorySegment host) {
        if (sharesHostMemory()) {
            stream.synchronize();
            MemorySegment.copy(memory, 0, host, 0, memory.byteSize());
            return;
        }
        outsideRecords(() -> Recording.caller(false) + " reads values of a tensor on the host");
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment target = host.isNative() ? host : arena.allocate(memory.byteSize(), Long.BYTES);
            NativeMemory.copy(stream, target, memory);
            stream.synchronize();
            if (target != host) {
                host.copyFrom(target);
            }
        }
    }

    /** Whether steps can be recorded on it ({@link CapturedStep}). */
    public boolean records() {
        return kind != DeviceKind.CPU;
    }

    /**
     * Says that the host reads something that differs from step to step, to compute or decide with it. Outside a step that is to be recorded
     * it does nothing.
     *
     * @param what is read, and what to use instead
     * @throws TensorException while a step is recorded
     */
    public void hostRead(String what) {
        outsideRecords(() -> Recording.caller(true) + " reads " + what);
    }

    /**
     * A value of the host's that decides what a step does, such as whether a phase of the training has begun. A recorded step holds as long as
     * the decision is the same.
     *
     * @param decision computes it, from what the host knows at the time
     */
    public <T> T decide(Supplier<T> decision) {
        Recording current = recording();
        return current == null ? decision.get() : current.decide(decision);
    }

    void outsideRecords(Supplier<String> reason) {
        Recording current = recording();
        if (current != null) {
            current.refuse(reason.get());
        }
    }

    /** What the calling thread rehearses or records; null if nothing. */
    @Nullable Recording recording() {
        Recording current = recording;
        return current != null && current.concerns(Thread.currentThread()) ? current : null;
    }

    /** What a step that is recorded reads or writes must be there when it is launched. */
    void uses(Block block) {
        Recording current = recording();
        if (current != null) {
            current.uses(block);
        }
    }

    /** Runs with memory from a recording's pool. */
    void under(Recording current, Runnable work) {
        recording = current;
        try {
            work.run();
        } finally {
            recording = null;
        }
    }

    /** An allocator of its own for a step that is rehearsed and then recorded, which must not need more than its rehearsal. */
    Allocator pool() {
        return new Allocator(source, usage, Allocator.Fit.EXACT);
    }

    Allocator allocator() {
        Recording current = recording();
        return current == null ? allocator : current.pool();
    }
}
