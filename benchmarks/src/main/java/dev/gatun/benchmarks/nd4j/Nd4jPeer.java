// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.nd4j;

import dev.gatun.benchmarks.Versions;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.DynamicCustomOp;
import org.nd4j.linalg.api.ops.Op;
import org.nd4j.linalg.factory.Nd4j;

/**
 * ND4J on the CPU inside this process, its build with oneDNN; products come from OpenBLAS. It is called as its own layers call it, operation by
 * operation, with arrays for the results that stand before: it allocates nothing. Its numbers of threads are in the environment of the process.
 */
public final class Nd4jPeer {
    /** Memory of ours as JavaCPP sees it. */
    private static final class Address extends Pointer {
        Address(long address) {
            this.address = address;
        }
    }

    /** Starts it; the environment must be that of {@code PeerEnvironment}. */
    public Nd4jPeer() {
        Nd4j.getExecutioner().enableDebugMode(false);
        Nd4j.getExecutioner().enableVerboseMode(false);
    }

    /** Its own version. */
    public String version() {
        return Versions.of(Nd4j.class, "org.nd4j", "nd4j-api");
    }

    /** A contiguous array over the operand's memory, not a copy; the memory must outlive it. */
    public INDArray array(Operand operand) {
        Layout layout = operand.layout();
        long[] shape = new long[layout.rank()];
        Arrays.setAll(shape, layout::size);
        DataType type = layout.dtype() == DType.I32 ? DataType.INT32 : DataType.FLOAT;
        return Nd4j.create(
                Nd4j.createBuffer(new Address(operand.segment().address()), layout.elements(), type), shape, Nd4j.getStrides(shape, 'c'), 0,
                'c', type);
    }

    /** For a result. */
    public INDArray empty(long... shape) {
        return Nd4j.create(DataType.FLOAT, shape);
    }

    /** For a result that is one number. */
    public INDArray scalar() {
        return Nd4j.scalar(0f);
    }

    /** A copy with the dimensions in another order. */
    public INDArray permuted(INDArray x, int... dimensions) {
        return x.permute(dimensions).dup('c');
    }

    /**
     * A call of the operation of this name.
     *
     * @param settings whole numbers and doubles, which the operation takes as two lists
     */
    public Runnable call(String operation, List<INDArray> inputs, List<INDArray> outputs, Number... settings) {
        DynamicCustomOp call = DynamicCustomOp.builder(operation)
                .addInputs(inputs.toArray(INDArray[]::new))
                .addOutputs(outputs.toArray(INDArray[]::new))
                .addIntegerArguments(Arrays.stream(settings)
                        .filter(setting -> !(setting instanceof Double))
                        .mapToInt(Number::intValue)
                        .toArray())
                .addFloatingPointArguments(Arrays.stream(settings).filter(Double.class::isInstance).toArray(Double[]::new))
                .build();
        return () -> Nd4j.getExecutioner().exec(call);
    }

    /** A call of an operation that has a class only. */
    public Runnable call(Op operation) {
        return () -> Nd4j.getExecutioner().exec(operation);
    }

    /** One after the other. */
    public Runnable all(Runnable... calls) {
        return () -> {
            for (Runnable call : calls) {
                call.run();
            }
        };
    }

    /** In row-major order. */
    public static float[] floats(INDArray array) {
        return array.dup('c').reshape(array.length()).toFloatVector();
    }
}
