// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.torch;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.ndarray.types.SparseFormat;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.engine.PtNDManager;
import ai.djl.pytorch.engine.PtSymbolBlock;
import ai.djl.pytorch.jni.IValue;
import ai.djl.pytorch.jni.JniUtils;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.AccessibleObject;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** PyTorch's official build through DJL. */
final class DjlTorch implements Torch {
    private final Engine engine;
    private final PtNDManager manager;
    /** (module, method, arguments, training, own CUDA stream) -> value */
    private final MethodHandle runMethod;
    private final MethodHandle newValue;

    private record DjlValue(PtNDManager manager, IValue value) implements Value {
        @Override
        public List<float[]> floats() {
            return Arrays.stream(value.toTensorArray(manager)).map(DjlValue::floats).toList();
        }

        private static float[] floats(PtNDArray array) {
            try (array) {
                return array.toFloatArray();
            }
        }

        @Override
        public void close() {
            value.close();
        }
    }

    DjlTorch(int threads) {
        System.setProperty("ai.djl.offline", "true");
        System.setProperty("ai.djl.pytorch.num_interop_threads", "1");
        System.setProperty("ai.djl.pytorch.num_threads", String.valueOf(threads));
        engine = Engine.getEngine("PyTorch");
        manager = (PtNDManager) engine.newBaseManager(Device.cpu());
        // What DJL offers publicly runs a method for inference only: no gradient could be had.
        try {
            Class<?> library = Class.forName("ai.djl.pytorch.jni.PyTorchLibrary");
            Field instance = open(library.getDeclaredField("LIB"));
            Method run = open(library.getDeclaredMethod(
                    "moduleRunMethod", long.class, String.class, long[].class, boolean.class, boolean.class));
            Constructor<IValue> constructor = open(IValue.class.getDeclaredConstructor(long.class));
            runMethod = MethodHandles.lookup().unreflect(run).bindTo(instance.get(null));
            newValue = MethodHandles.lookup().unreflectConstructor(constructor);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("DJL is not the version it should be", e);
        }
    }

    private static <T extends AccessibleObject> T open(T member) {
        member.setAccessible(true);
        return member;
    }

    private IValue run(long module, String method, long[] arguments) {
        try {
            return (IValue) newValue.invokeExact((long) runMethod.invokeExact(module, method, arguments, true, false));
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public Build build() {
        return Build.DJL;
    }

    @Override
    public String version() {
        return engine.getVersion();
    }

    @Override
    public Script compile(String source) {
        Path file = TorchScriptFile.write(source);
        try {
            // a setting of the thread
            JniUtils.setGraphExecutorOptimize(false);
            PtSymbolBlock block = JniUtils.loadModule(manager, file, false, new String[0], new String[0], false);
            long handle = block.getHandle();
            return (method, arguments) -> {
                long[] values = new long[arguments.length];
                for (int i = 0; i < values.length; i++) {
                    values[i] = ((DjlValue) arguments[i]).value.getHandle();
                }
                return new DjlValue(manager, run(handle, method, values));
            };
        } finally {
            try {
                Files.deleteIfExists(file);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    private PtNDArray array(Operand operand) {
        Layout layout = operand.layout();
        long[] shape = new long[layout.rank()];
        Arrays.setAll(shape, layout::size);
        DataType type =
                switch (layout.dtype()) {
                    case F32 -> DataType.FLOAT32;
                    case I32 -> DataType.INT32;
                    case I64 -> DataType.INT64;
                    default -> throw new IllegalArgumentException("not for a peer: " + layout.dtype());
                };
        return JniUtils.createNdFromByteBuffer(
                manager,
                operand.segment().asByteBuffer().order(ByteOrder.nativeOrder()),
                new Shape(shape),
                type,
                SparseFormat.DENSE,
                Device.cpu());
    }

    @Override
    public Value tensor(Operand operand) {
        return new DjlValue(manager, IValue.from(array(operand)));
    }

    @Override
    public Value tensors(Operand... operands) {
        return new DjlValue(
                manager, IValue.listFrom(Arrays.stream(operands).map(this::array).toArray(PtNDArray[]::new)));
    }

    @Override
    public Value number(double value) {
        return new DjlValue(manager, IValue.from(value));
    }

    @Override
    public Value integer(long value) {
        return new DjlValue(manager, IValue.from(value));
    }
}
