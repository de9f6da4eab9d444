// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.torch;

import dev.gatun.benchmarks.Versions;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.GenericList;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.JitModule;
import org.bytedeco.pytorch.Method;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorType;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.Type;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** PyTorch through JavaCPP's presets. */
final class PresetsTorch implements Torch {
    /** Memory of ours as JavaCPP sees it. */
    private static final class Address extends Pointer {
        Address(long address) {
            this.address = address;
        }
    }

    private record PresetsValue(IValue value) implements Value {
        @Override
        public List<float[]> floats() {
            List<float[]> arrays = new ArrayList<>();
            TensorVector tensors = value.toTensorVector();
            for (long i = 0; i < tensors.size(); i++) {
                Tensor dense = tensors.get(i).contiguous();
                float[] array = new float[Math.toIntExact(dense.numel())];
                dense.data_ptr_float().get(array);
                arrays.add(array);
            }
            return arrays;
        }

        @Override
        public void close() {
            value.close();
        }
    }

    PresetsTorch(int threads) {
        torch.set_num_interop_threads(1);
        torch.set_num_threads(threads);
    }

    @Override
    public Build build() {
        return Build.PRESETS;
    }

    @Override
    public String version() {
        // the presets' version begins with the library's, which does not say itself
        return Versions.of(torch.class, "org.bytedeco", "pytorch").replaceFirst("-.*", "");
    }

    @Override
    public Script compile(String source) {
        Path file = TorchScriptFile.write(source);
        try {
            // a setting of the thread
            torch.setGraphExecutorOptimize(false);
            JitModule module = torch.load(file.toString());
            return (name, arguments) -> {
                Method method = module.get_method(name);
                try (IValueVector stack = new IValueVector(arguments.length)) {
                    for (int i = 0; i < arguments.length; i++) {
                        stack.put(i, ((PresetsValue) arguments[i]).value);
                    }
                    return new PresetsValue(method.apply(stack));
                }
            };
        } finally {
            try {
                Files.deleteIfExists(file);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    private static Tensor array(Operand operand) {
        Layout layout = operand.layout();
        long[] shape = new long[layout.rank()];
        Arrays.setAll(shape, layout::size);
        ScalarType type =
                switch (layout.dtype()) {
                    case F32 -> ScalarType.Float;
                    case I32 -> ScalarType.Int;
                    case I64 -> ScalarType.Long;
                    default -> throw new IllegalArgumentException("not for a peer: " + layout.dtype());
                };
        return torch.from_blob(new Address(operand.segment().address()), shape, new TensorOptions(type));
    }

    @Override
    public Value tensor(Operand operand) {
        return new PresetsValue(new IValue(array(operand)));
    }

    @Override
    public Value tensors(Operand... operands) {
        GenericList list = new GenericList(new Type.TypePtr(TensorType.get()));
        for (Operand operand : operands) {
            list.push_back(new IValue(array(operand)));
        }
        return new PresetsValue(new IValue(list));
    }

    @Override
    public Value number(double value) {
        return new PresetsValue(new IValue(value));
    }

    @Override
    public Value integer(long value) {
        return new PresetsValue(new IValue(value));
    }
}
