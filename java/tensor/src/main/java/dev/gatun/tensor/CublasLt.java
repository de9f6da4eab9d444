// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.bytedeco.cuda.global.cublas.*;

import dev.gatun.primitives.CallTrace;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.NativeMemory;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.CudaLibrary.Address;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.cuda.cublas.cublasLtMatmulAlgo_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulDescOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulHeuristicResult_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulPreferenceOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatrixLayoutOpaque_t;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * cuBLASLt of the installed CUDA, on a device's own stream. Sums are f32; f32 operands are multiplied as they are, or rounded to TF32 where that
 * was asked for. The algorithm of a shape is chosen once, by the library's heuristic, and kept; after that a call neither allocates nor waits, and
 * it can be recorded in a graph. Workspaces keep their addresses, since a recorded product goes on using them.
 *
 * <p>GELU is not asked of the library: its form is the one with tanh, ours the exact one.
 */
final class CublasLt implements Gemm {
    /** What NVIDIA recommends for compute capability 9.0; less shuts out algorithms. */
    static final long WORKSPACE_BYTES = 32L << 20;

    /** An algorithm with its descriptors. */
    private record Kernel(
            cublasLtMatmulDescOpaque_t operation,
            cublasLtMatrixLayoutOpaque_t first,
            cublasLtMatrixLayoutOpaque_t second,
            cublasLtMatrixLayoutOpaque_t result,
            cublasLtMatmulAlgo_t algorithm) {}

    /** A stream as the library takes it, and its workspace. */
    private record Lane(CUstream_st stream, MemorySegment workspace) {}

    private static final class Stream extends CUstream_st {
        Stream(long handle) {
            super((Pointer) null);
            address = handle;
        }
    }

    private final GatunContext context;
    private final int ordinal;
    private final boolean tf32;
    private final Gemm empty = new KernelGemm();
    private final Arena arena = Arena.ofShared();
    private final cublasLtContext handle = new cublasLtContext();
    private final Map<CublasPlan, Optional<Kernel>> kernels = new HashMap<>();
    private final Map<GatunStream, Lane> lanes = new IdentityHashMap<>();
    // scratch of a call, which runs under this object's lock
    private final MemorySegment scales = arena.allocate(ValueLayout.JAVA_FLOAT, 2);
    private final Address alpha = new Address().at(scales.address());
    private final Address beta = new Address().at(scales.address() + Float.BYTES);
    private final MemorySegment value = arena.allocate(ValueLayout.JAVA_LONG);
    private final Address valueAddress = new Address().at(value.address());
    private final Address first = new Address();
    private final Address second = new Address();
    private final Address result = new Address();
    private final Address workspace = new Address();
    private boolean closed;

    private CublasLt(GatunContext context, int ordinal, boolean tf32) {
        this.context = context;
        this.ordinal = ordinal;
        this.tf32 = tf32;
    }

    /**
     * Opens the library, which {@link CudaLibrary} has loaded, on a device.
     *
     * @param stream the stream on which most products will run; its workspace is allocated here
     * @param tf32 whether f32 operands may be rounded to TF32 (10 bits of fraction)
     * @throws GatunException if the device cannot be used or has no room for the workspace
     */
    static CublasLt open(GatunStream stream, int ordinal, boolean tf32) {
        CublasLt library = new CublasLt(stream.context(), ordinal, tf32);
        try {
            library.use();
            check(cublasLtCreate(library.handle), "open");
            library.lane(stream);
        } catch (RuntimeException e) {
            library.close();
            throw e;
        }
        return library;
    }

    @Override
    public String name() {
        return CudaLibrary.name("cuBLASLt", cublasLtGetVersion(), tf32);
    }

    @Override
    public synchronized boolean offers(Epilogue epilogue, Operand a, Operand b, float beta, Operand c) {
        CublasPlan plan = CublasPlan.of(a, b, c, Optional.of(epilogue));
        return !plan.empty() && kernel(plan).isPresent();
    }

    @Override
    public void multiply(GatunStream stream, float alpha, Operand a, Operand b, float beta, Operand c) {
        CublasPlan plan = CublasPlan.of(a, b, c, Optional.empty());
        if (plan.empty()) {
            // beta · c, which a library refuses to do
            empty.multiply(stream, alpha, a, b, beta, c);
            return;
        }
        run(stream, plan, alpha, a, b, beta, c, MemorySegment.NULL);
    }

    @Override
    public void multiply(GatunStream stream, Operand a, Operand b, float beta, Operand c, Epilogue epilogue, Operand v) {
        CublasPlan plan = CublasPlan.of(a, b, c, Optional.of(epilogue));
        long length = epilogue == Epilogue.BIAS ? plan.n() : plan.m();
        boolean fits = v.layout().rank() == 1 && v.layout().size(0) == length && v.layout().contiguous() && v.layout().dtype() == plan.output();
        if (!fits || !v.segment().isNative() || v.segment().byteSize() < v.layout().spanBytes()) {
            throw new GatunException(
                    GatunException.Status.INVALID_ARGUMENT,
                    "gemm",
                    plan.describe() + " needs a contiguous vector " + plan.output() + "[" + length + "], given " + v.layout());
        }
        run(stream, plan, 1f, a, b, beta, c, v.segment());
    }

    private synchronized void run(
            GatunStream stream, CublasPlan plan, float by, Operand a, Operand b, float onto, Operand c, MemorySegment vector) {
        use();
        Lane lane = lane(stream);
        Kernel kernel = kernel(plan).orElseThrow(() -> new GatunException(
                GatunException.Status.UNSUPPORTED,
                "gemm",
                name() + " has no algorithm for " + plan.describe() + "; `gemm: gatun` in the device section takes Gatun's own kernel"));
        if (plan.epilogue().isPresent()) {
            set(kernel.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector.address(), Long.BYTES, plan);
        }
        scales.setAtIndex(ValueLayout.JAVA_FLOAT, 0, by);
        scales.setAtIndex(ValueLayout.JAVA_FLOAT, 1, onto);
        result.at(c.segment().address());
        List<CallTrace.Argument> told = !stream.isListenedTo() ? List.of() : List.of(
                new CallTrace.Argument("a", a.layout(), false), new CallTrace.Argument("b", b.layout(), false),
                new CallTrace.Argument("c", c.layout(), true));
        stream.trace("gemm", told, () -> {
            int status = cublasLtMatmul(
                    handle,
                    kernel.operation,
                    alpha,
                    first.at(b.segment().address()),
                    kernel.first,
                    second.at(a.segment().address()),
                    kernel.second,
                    beta,
                    result,
                    kernel.result,
                    result,
                    kernel.result,
                    kernel.algorithm,
                    workspace.at(lane.workspace.address()),
                    WORKSPACE_BYTES,
                    lane.stream);
            check(status, plan);
        });
    }

    /** A thread has a current device, and CUDA takes a stream only where it is its own. */
    private void use() {
        CudaLibrary.CUBLAS.use(ordinal, closed);
    }

    private Lane lane(GatunStream stream) {
        return lanes.computeIfAbsent(
                stream, s -> new Lane(new Stream(s.cudaStream().address()), NativeMemory.allocate(context, WORKSPACE_BYTES)));
    }

    /** The algorithm of a plan; empty if the library has none. */
    private Optional<Kernel> kernel(CublasPlan plan) {
        return kernels.computeIfAbsent(plan, this::choose);
    }

    private Optional<Kernel> choose(CublasPlan plan) {
        int compute = tf32 && plan.input() == DType.F32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
        try (Arena work = Arena.ofConfined()) {
            MemorySegment made = work.allocate(ValueLayout.JAVA_LONG);
            PointerPointer<Pointer> out = new PointerPointer<>(new Address().at(made.address()));
            check(cublasLtMatmulDescCreate(out, compute, type(DType.F32)), plan);
            var operation = new cublasLtMatmulDescOpaque_t(new Address().at(made.get(ValueLayout.JAVA_LONG, 0)));
            set(operation, CUBLASLT_MATMUL_DESC_TRANSA, plan.first().transposed() ? CUBLAS_OP_T : CUBLAS_OP_N, Integer.BYTES, plan);
            set(operation, CUBLASLT_MATMUL_DESC_TRANSB, plan.second().transposed() ? CUBLAS_OP_T : CUBLAS_OP_N, Integer.BYTES, plan);
            if (plan.epilogue().isPresent()) {
                int epilogue = plan.epilogue().get() == Epilogue.BIAS ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_BGRADB;
                set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue, Integer.BYTES, plan);
                set(operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type(plan.output()), Integer.BYTES, plan);
                // the heuristic wants a pointer; this one promises the alignment of one element, whatever vector comes
                set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, (1 << 20) + plan.output().bytes(), Long.BYTES, plan);
            }
            var a = layout(plan.first(), plan.input(), out, made, plan);
            var b = layout(plan.second(), plan.input(), out, made, plan);
            var d = layout(plan.result(), plan.output(), out, made, plan);

            check(cublasLtMatmulPreferenceCreate(out), plan);
            var preference = new cublasLtMatmulPreferenceOpaque_t(new Address().at(made.get(ValueLayout.JAVA_LONG, 0)));
            prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, WORKSPACE_BYTES, Long.BYTES, plan);
            prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, plan.first().alignment(), Integer.BYTES, plan);
            prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, plan.second().alignment(), Integer.BYTES, plan);
            prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, plan.result().alignment(), Integer.BYTES, plan);
            prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, plan.result().alignment(), Integer.BYTES, plan);
            // kept: the algorithm lies in it
            MemorySegment found = arena.allocate(Loader.sizeof(cublasLtMatmulHeuristicResult_t.class), Long.BYTES);
            var heuristic = new cublasLtMatmulHeuristicResult_t(new Address().at(found.address()));
            MemorySegment count = work.allocate(ValueLayout.JAVA_INT);
            int status = cublasLtMatmulAlgoGetHeuristic(
                    handle, operation, a, b, d, d, preference, 1, heuristic, new IntPointer(new Address().at(count.address())));
            check(cublasLtMatmulPreferenceDestroy(preference), plan);
            if (status != CUBLAS_STATUS_NOT_SUPPORTED) {
                check(status, plan);
            }
            if (status == CUBLAS_STATUS_SUCCESS && count.get(ValueLayout.JAVA_INT, 0) == 1 && heuristic.state() == CUBLAS_STATUS_SUCCESS) {
                return Optional.of(new Kernel(operation, a, b, d, heuristic.algo()));
            }
            destroy(new Kernel(operation, a, b, d, heuristic.algo()));
            return Optional.empty();
        }
    }

    private static cublasLtMatrixLayoutOpaque_t layout(
            CublasPlan.Matrix matrix, DType dtype, PointerPointer<Pointer> out, MemorySegment made, CublasPlan plan) {
        check(cublasLtMatrixLayoutCreate(out, type(dtype), matrix.rows(), matrix.columns(), matrix.leading()), plan);
        return new cublasLtMatrixLayoutOpaque_t(new Address().at(made.get(ValueLayout.JAVA_LONG, 0)));
    }

    private void set(cublasLtMatmulDescOpaque_t operation, int attribute, long content, long bytes, CublasPlan plan) {
        value.set(ValueLayout.JAVA_LONG, 0, content);
        check(cublasLtMatmulDescSetAttribute(operation, attribute, valueAddress, bytes), plan);
    }

    private void prefer(cublasLtMatmulPreferenceOpaque_t preference, int attribute, long content, long bytes, CublasPlan plan) {
        value.set(ValueLayout.JAVA_LONG, 0, content);
        check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, valueAddress, bytes), plan);
    }

    private static int type(DType dtype) {
        return switch (dtype) {
            case BF16 -> cudart.CUDA_R_16BF;
            case F16 -> cudart.CUDA_R_16F;
            default -> cudart.CUDA_R_32F;
        };
    }

    private static void check(int status, CublasPlan plan) {
        if (status != CUBLAS_STATUS_SUCCESS) {
            check(status, "multiply " + plan.describe());
        }
    }

    private static void check(int status, String what) {
        if (status != CUBLAS_STATUS_SUCCESS) {
            throw new GatunException(
                    GatunException.Status.INTERNAL, "gemm", "cuBLASLt cannot " + what + ": " + cublasLtGetStatusName(status).getString());
        }
    }

    private static void destroy(Kernel kernel) {
        cublasLtMatmulDescDestroy(kernel.operation);
        cublasLtMatrixLayoutDestroy(kernel.first);
        cublasLtMatrixLayoutDestroy(kernel.second);
        cublasLtMatrixLayoutDestroy(kernel.result);
    }

    /** How many plans have been asked for. */
    synchronized int plans() {
        return kernels.size();
    }

    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        kernels.values().forEach(kernel -> kernel.ifPresent(CublasLt::destroy));
        lanes.values().forEach(lane -> NativeMemory.free(context, lane.workspace));
        if (!handle.isNull()) {
            cublasLtDestroy(handle);
        }
        arena.close();
    }
}
