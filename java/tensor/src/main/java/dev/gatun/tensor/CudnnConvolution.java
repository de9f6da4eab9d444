// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import static org.bytedeco.cuda.global.cudnn.*;

import dev.gatun.primitives.CallTrace;
import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Elementwise;
import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Reduction;
import dev.gatun.tensor.CudaLibrary.Address;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.cudnn.cudnnContext;
import org.bytedeco.cuda.cudnn.cudnnConvolutionBwdDataAlgoPerf_t;
import org.bytedeco.cuda.cudnn.cudnnConvolutionBwdFilterAlgoPerf_t;
import org.bytedeco.cuda.cudnn.cudnnConvolutionFwdAlgoPerf_t;
import org.bytedeco.cuda.cudnn.cudnnConvolutionStruct;
import org.bytedeco.cuda.cudnn.cudnnFilterStruct;
import org.bytedeco.cuda.cudnn.cudnnTensorStruct;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * cuDNN 9 on a device's own stream, in the form of its descriptors. Sums are f32, f32 operands are multiplied as they are unless TF32 was asked for,
 * and only algorithms that the library calls deterministic are taken. The algorithm of a shape is chosen once by the library's heuristic, which
 * runs nothing, so that a step can be recorded.
 *
 * <p>Against Gatun's kernels there are two roundings more in half precision: y is stored before its bias is added, and the library stores the
 * gradient of the weights in their dtype, before it becomes f32 here.
 */
final class CudnnConvolution implements ConvolutionLibrary {
    private enum Pass {
        FORWARD,
        BACKWARD_DATA,
        BACKWARD_WEIGHTS
    }

    /** What an algorithm is chosen for. */
    private record Key(Pass pass, Layout x, Layout weights, Layout y, Geometry geometry) {
        String describe() {
            return pass.name().toLowerCase(Locale.ROOT) + " of x " + x + ", weights " + weights + ", y " + y + ", " + geometry;
        }
    }

    /** An algorithm with its descriptors. */
    private record Kernel(
            cudnnTensorStruct x, cudnnFilterStruct weights, cudnnTensorStruct y, cudnnConvolutionStruct convolution, int algorithm, long bytes) {}

    /** A candidate of the heuristic. */
    private record Candidate(int algorithm, int status, int determinism, int math) {}

    private static final int MOST_CANDIDATES = 16;
    /** Algorithms by FFT may want more than the images take. */
    private static final long MOST_WORKSPACE = 1L << 30;

    private static final long ALIGNMENT = 256;

    private final int ordinal;
    private final boolean tf32;
    private final Arena arena = Arena.ofShared();
    private final cudnnContext handle = new cudnnContext();
    private final Map<Key, Kernel> kernels = new HashMap<>();
    // scratch of a call, which runs under this object's lock
    private final MemorySegment scales = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1f, 0f);
    private final Address one = new Address().at(scales.address());
    private final Address zero = new Address().at(scales.address() + Float.BYTES);
    private final Address first = new Address();
    private final Address second = new Address();
    private final Address result = new Address();
    private final Address work = new Address();
    private boolean closed;

    private CudnnConvolution(int ordinal, boolean tf32) {
        this.ordinal = ordinal;
        this.tf32 = tf32;
    }

    /** Opens the library, which {@link CudaLibrary} has loaded, on a device. */
    static CudnnConvolution open(int ordinal, boolean tf32) {
        CudnnConvolution library = new CudnnConvolution(ordinal, tf32);
        try {
            library.use();
            check(cudnnCreate(library.handle), "open");
        } catch (RuntimeException e) {
            library.close();
            throw e;
        }
        return library;
    }

    @Override
    public String name() {
        return CudaLibrary.name("cuDNN", cudnnGetVersion(), tf32);
    }

    @Override
    public synchronized long forwardWorkspace(
            GatunStream stream, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry) {
        return kernel(new Key(Pass.FORWARD, x.layout(), weights.layout(), y.layout(), geometry)).bytes;
    }

    @Override
    public synchronized void forward(
            GatunStream stream, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry, MemorySegment workspace) {
        Key key = new Key(Pass.FORWARD, x.layout(), weights.layout(), y.layout(), geometry);
        Kernel kernel = begin(key, stream, workspace, x, weights, y);
        stream.trace("convolution_forward", told(stream, List.of("x", "weights", "y"), x, weights, y), () ->
                check(
                        cudnnConvolutionForward(
                                handle, one, kernel.x, first.at(x.segment().address()), kernel.weights, second.at(weights.segment().address()),
                                kernel.convolution, kernel.algorithm, work, kernel.bytes, zero, kernel.y, result.at(y.segment().address())),
                        key));
        if (bias.present()) {
            Elementwise.binary(stream, Elementwise.Binary.ADD, y, bias, y);
        }
    }

    @Override
    public synchronized long backwardDataWorkspace(GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry) {
        return kernel(new Key(Pass.BACKWARD_DATA, dx.layout(), weights.layout(), dy.layout(), geometry)).bytes;
    }

    @Override
    public boolean accumulates(GatunStream stream, Geometry geometry) {
        return false;
    }

    private static void requireOverwriting(boolean accumulate) {
        if (accumulate) {
            throw new TensorException("cuDNN: gradients are not added to what is there");
        }
    }

    @Override
    public synchronized void backwardData(
            GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry, boolean accumulate, MemorySegment workspace) {
        requireOverwriting(accumulate);
        Key key = new Key(Pass.BACKWARD_DATA, dx.layout(), weights.layout(), dy.layout(), geometry);
        Kernel kernel = begin(key, stream, workspace, dy, weights, dx);
        stream.trace("convolution_backward_data", told(stream, List.of("dy", "weights", "dx"), dy, weights, dx), () ->
                check(
                        cudnnConvolutionBackwardData(
                                handle, one, kernel.weights, first.at(weights.segment().address()), kernel.y, second.at(dy.segment().address()),
                                kernel.convolution, kernel.algorithm, work, kernel.bytes, zero, kernel.x, result.at(dx.segment().address())),
                        key));
    }

    /** The gradient as the library stores it: in the dtype of the images. */
    private static Layout stored(Operand dweights, Operand x) {
        return Layout.of(x.layout().dtype(), dweights.layout().shape());
    }

    private static long padded(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    @Override
    public synchronized long backwardWeightsWorkspace(
            GatunStream stream, Operand x, Operand dy, Operand dweights, Operand dbias, Geometry geometry) {
        Layout stored = stored(dweights, x);
        Kernel kernel = kernel(new Key(Pass.BACKWARD_WEIGHTS, x.layout(), stored, dy.layout(), geometry));
        // one after the other in the same memory: the product with what it stores, then the sums
        long own = padded(kernel.bytes) + (stored.dtype() == DType.F32 ? 0 : stored.spanBytes());
        return dbias.present() ? Math.max(own, Reduction.workspace(stream, Reduction.Kind.SUM, dy, dbias)) : own;
    }

    @Override
    public synchronized void backwardWeights(
            GatunStream stream,
            Operand x,
            Operand dy,
            Operand dweights,
            Operand dbias,
            Geometry geometry,
            boolean accumulate,
            MemorySegment workspace) {
        requireOverwriting(accumulate);
        Layout stored = stored(dweights, x);
        Key key = new Key(Pass.BACKWARD_WEIGHTS, x.layout(), stored, dy.layout(), geometry);
        Kernel kernel = begin(key, stream, workspace, x, dy, dweights);
        boolean direct = stored.dtype() == DType.F32;
        long needed = padded(kernel.bytes) + (direct ? 0 : stored.spanBytes());
        if (workspace.byteSize() < needed) {
            throw small(needed, workspace);
        }
        Operand gradient = direct ? dweights : new Operand(workspace.asSlice(padded(kernel.bytes), stored.spanBytes()), stored);
        stream.trace("convolution_backward_weights", told(stream, List.of("x", "dy", "dweights"), x, dy, gradient), () ->
                check(
                        cudnnConvolutionBackwardFilter(
                                handle, one, kernel.x, first.at(x.segment().address()), kernel.y, second.at(dy.segment().address()),
                                kernel.convolution, kernel.algorithm, work, kernel.bytes, zero, kernel.weights,
                                result.at(gradient.segment().address())),
                        key));
        if (!direct) {
            Elementwise.copy(stream, gradient, dweights);
        }
        if (dbias.present()) {
            Reduction.reduce(stream, Reduction.Kind.SUM, dy, dbias, workspace);
        }
    }

    /** For whoever listens; the last operand is written. */
    private static List<CallTrace.Argument> told(GatunStream stream, List<String> names, Operand... operands) {
        if (!stream.isListenedTo()) {
            return List.of();
        }
        return IntStream.range(0, operands.length)
                .mapToObj(i -> new CallTrace.Argument(names.get(i), operands[i].layout(), i == operands.length - 1))
                .toList();
    }

    private static GatunException small(long needed, MemorySegment workspace) {
        return invalid("a workspace of " + needed + " bytes is needed, given " + workspace.byteSize());
    }

    private static GatunException invalid(String why) {
        return new GatunException(GatunException.Status.INVALID_ARGUMENT, "convolution", why);
    }

    /** Checks the memory, makes the device and the stream current, and finds the algorithm. */
    private Kernel begin(Key key, GatunStream stream, MemorySegment workspace, Operand... operands) {
        for (Operand operand : operands) {
            MemorySegment memory = operand.segment();
            if (!memory.isNative() || !memory.scope().isAlive() || memory.byteSize() < operand.layout().spanBytes()) {
                throw invalid(operand.layout() + " is not in native memory that is alive and large enough");
            }
        }
        Kernel kernel = kernel(key);
        if (workspace.byteSize() < kernel.bytes) {
            throw small(kernel.bytes, workspace);
        }
        work.at(workspace.address());
        use();
        check(cudnnSetStream(handle, new CUstream_st(new Address().at(stream.cudaStream().address()))), key);
        return kernel;
    }

    private void use() {
        CudaLibrary.CUDNN.use(ordinal, closed);
    }

    private Kernel kernel(Key key) {
        use();
        return kernels.computeIfAbsent(key, this::choose);
    }

    private Kernel choose(Key key) {
        Geometry g = key.geometry;
        DType dtype = key.x.dtype();
        boolean ranks = key.x.rank() == 4 && key.weights.rank() == 4 && key.y.rank() == 4 && key.weights.contiguous();
        boolean stored = dtype == DType.F32 || dtype == DType.BF16 || dtype == DType.F16;
        if (!ranks || !stored || key.weights.dtype() != dtype || key.y.dtype() != dtype) {
            throw invalid("x, weights and y have four dimensions and one dtype, f32, bf16 or f16, and the weights are contiguous: " + key.describe());
        }
        if (g.paddingTop() != g.paddingBottom() || g.paddingLeft() != g.paddingRight()) {
            throw new GatunException(
                    GatunException.Status.UNSUPPORTED,
                    "convolution",
                    "cuDNN pads both sides alike; `convolution: gatun` in the device section takes Gatun's kernels: " + key.describe());
        }
        cudnnTensorStruct x = images(key.x, key);
        cudnnTensorStruct y = images(key.y, key);
        cudnnFilterStruct w = new cudnnFilterStruct();
        check(cudnnCreateFilterDescriptor(w), key);
        check(
                cudnnSetFilter4dDescriptor(
                        w, type(dtype), CUDNN_TENSOR_NHWC, extent(key.weights, 0), extent(key.weights, 3), extent(key.weights, 1),
                        extent(key.weights, 2)),
                key);
        cudnnConvolutionStruct convolution = new cudnnConvolutionStruct();
        check(cudnnCreateConvolutionDescriptor(convolution), key);
        check(
                cudnnSetConvolution2dDescriptor(
                        convolution, g.paddingTop(), g.paddingLeft(), g.strideHeight(), g.strideWidth(), g.dilationHeight(),
                        g.dilationWidth(), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
                key);
        check(cudnnSetConvolutionGroupCount(convolution, g.groups()), key);
        boolean exact = dtype == DType.F32 && !tf32;
        int math = exact ? CUDNN_FMA_MATH : dtype == DType.F32 ? CUDNN_DEFAULT_MATH : CUDNN_TENSOR_OP_MATH;
        check(cudnnSetConvolutionMathType(convolution, math), key);
        for (Candidate candidate : candidates(key, x, w, y, convolution)) {
            boolean allowed = candidate.status == CUDNN_STATUS_SUCCESS && candidate.determinism == CUDNN_DETERMINISTIC;
            if (!allowed) {
                continue;
            }
            if (!exact) {
                check(cudnnSetConvolutionMathType(convolution, candidate.math), key);
            }
            long bytes = workspace(key, x, w, y, convolution, candidate.algorithm);
            if (bytes <= MOST_WORKSPACE) {
                return new Kernel(x, w, y, convolution, candidate.algorithm, bytes);
            }
        }
        destroy(new Kernel(x, w, y, convolution, 0, 0));
        throw new GatunException(
                GatunException.Status.UNSUPPORTED,
                "convolution",
                name() + " has no deterministic algorithm; `convolution: gatun` in the device section takes Gatun's kernels: " + key.describe());
    }

    /** What the heuristic proposes, the fastest by its estimate first. */
    private Candidate[] candidates(
            Key key, cudnnTensorStruct x, cudnnFilterStruct w, cudnnTensorStruct y, cudnnConvolutionStruct convolution) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment count = scratch.allocate(ValueLayout.JAVA_INT);
            IntPointer found = new IntPointer(new Address().at(count.address()));
            // the three kinds of result have one layout
            long size = Loader.sizeof(cudnnConvolutionFwdAlgoPerf_t.class);
            Address memory = new Address().at(scratch.allocate(size * MOST_CANDIDATES, Long.BYTES).address());
            var list = new cudnnConvolutionFwdAlgoPerf_t(memory);
            int status = switch (key.pass) {
                case FORWARD -> cudnnGetConvolutionForwardAlgorithm_v7(handle, x, w, convolution, y, MOST_CANDIDATES, found, list);
                case BACKWARD_DATA -> cudnnGetConvolutionBackwardDataAlgorithm_v7(
                        handle, w, y, convolution, x, MOST_CANDIDATES, found, new cudnnConvolutionBwdDataAlgoPerf_t(memory));
                case BACKWARD_WEIGHTS -> cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                        handle, x, y, convolution, w, MOST_CANDIDATES, found, new cudnnConvolutionBwdFilterAlgoPerf_t(memory));
            };
            check(status, key);
            Candidate[] candidates = new Candidate[count.get(ValueLayout.JAVA_INT, 0)];
            for (int i = 0; i < candidates.length; i++) {
                list.position(i);
                candidates[i] = new Candidate(list.algo(), list.status(), list.determinism(), list.mathType());
            }
            return candidates;
        }
    }

    private long workspace(
            Key key, cudnnTensorStruct x, cudnnFilterStruct w, cudnnTensorStruct y, cudnnConvolutionStruct convolution, int algorithm) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment bytes = scratch.allocate(ValueLayout.JAVA_LONG);
            SizeTPointer out = new SizeTPointer(new Address().at(bytes.address()));
            check(
                    switch (key.pass) {
                        case FORWARD -> cudnnGetConvolutionForwardWorkspaceSize(handle, x, w, convolution, y, algorithm, out);
                        case BACKWARD_DATA -> cudnnGetConvolutionBackwardDataWorkspaceSize(handle, w, y, convolution, x, algorithm, out);
                        case BACKWARD_WEIGHTS -> cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, x, y, convolution, w, algorithm, out);
                    },
                    key);
            return bytes.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /** The library names dimensions (B, C, H, W), whatever their strides. */
    private static cudnnTensorStruct images(Layout layout, Key key) {
        cudnnTensorStruct images = new cudnnTensorStruct();
        check(cudnnCreateTensorDescriptor(images), key);
        check(
                cudnnSetTensor4dDescriptorEx(
                        images, type(layout.dtype()), extent(layout, 0), extent(layout, 3), extent(layout, 1), extent(layout, 2),
                        Math.toIntExact(layout.stride(0)), 1, Math.toIntExact(layout.stride(1)), Math.toIntExact(layout.stride(2))),
                key);
        return images;
    }

    private static int extent(Layout layout, int dimension) {
        return Math.toIntExact(layout.size(dimension));
    }

    private static int type(DType dtype) {
        return switch (dtype) {
            case BF16 -> CUDNN_DATA_BFLOAT16;
            case F16 -> CUDNN_DATA_HALF;
            default -> CUDNN_DATA_FLOAT;
        };
    }

    private static void check(int status, Key key) {
        if (status != CUDNN_STATUS_SUCCESS) {
            check(status, "do " + key.describe());
        }
    }

    private static void check(int status, String what) {
        if (status != CUDNN_STATUS_SUCCESS) {
            throw new GatunException(
                    GatunException.Status.INTERNAL, "convolution", "cuDNN cannot " + what + ": " + cudnnGetErrorString(status).getString());
        }
    }

    private static void destroy(Kernel kernel) {
        cudnnDestroyTensorDescriptor(kernel.x);
        cudnnDestroyFilterDescriptor(kernel.weights);
        cudnnDestroyTensorDescriptor(kernel.y);
        cudnnDestroyConvolutionDescriptor(kernel.convolution);
    }

    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        kernels.values().forEach(CudnnConvolution::destroy);
        if (!handle.isNull()) {
            cudnnDestroy(handle);
        }
        arena.close();
    }
}
