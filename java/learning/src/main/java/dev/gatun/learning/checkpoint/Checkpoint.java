// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.checkpoint;

import dev.gatun.learning.LearningException;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.FileLayout;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * A run's state in one safetensors file: parameters and state under their names (weights in the files' layout), the
 * optimizer's tensors under {@code optimizer.}, and where the run is in the metadata. Nothing in it depends on the clock: two
 * runs with the same seed and thread count write the same bytes.
 *
 * @param step updates done
 * @param metadata further texts: method, seed and the like
 */
public record Checkpoint(long step, Map<String, String> metadata) {
    /** The version of the file's layout. */
    public static final String VERSION = "1";

    private static final String OPTIMIZER = "optimizer.";

    /**
     * Writes the whole state of a run; an interruption at any moment leaves the former file or the new one.
     *
     * @param file the target
     * @param checkpoint where the run is
     * @param parameters all parameters and state
     * @param optimizer the optimizers' tensors
     * @throws LearningException if the file cannot be written; one line
     */
    public static void save(Path file, Checkpoint checkpoint, Parameters parameters, List<NamedTensor> optimizer) {
        Map<String, String> metadata = new LinkedHashMap<>();
        metadata.put("format", "gatun.checkpoint");
        metadata.put("version", VERSION);
        metadata.put("step", Long.toString(checkpoint.step()));
        metadata.putAll(checkpoint.metadata());
        try (Arena arena = Arena.ofShared()) {
            List<Safetensors.Entry> entries = entries(parameters, "", arena);
            for (NamedTensor state : optimizer) {
                entries.add(entry(OPTIMIZER + state.name(), state.tensor(), arena));
            }
            Safetensors.write(file, metadata, entries);
        }
    }

    /**
     * Restores the whole state of a run.
     *
     * @param file a file that {@link #save} wrote
     * @param parameters built parameters of the same architecture; overwritten
     * @param optimizer the tensors of optimizers of the same kind; overwritten
     * @return where the run was
     * @throws LearningException if the file is missing, damaged, of another version or of another architecture; one line.
     *     Nothing is overwritten then
     */
    public static Checkpoint load(Path file, Parameters parameters, List<NamedTensor> optimizer) {
        Safetensors.Content content = content(file);
        List<Restore> restores = restores(file, content, parameters, "");
        for (NamedTensor state : optimizer) {
            restores.add(restore(file, content, OPTIMIZER + state.name(), state.tensor(), FileLayout.SAME));
        }
        restores.forEach(Restore::run);
        parameters.written();
        return position(file, content);
    }

    /**
     * Reads where a run was, and nothing else.
     *
     * @param file a file that {@link #save} wrote
     * @throws LearningException if the file is missing, damaged or of another version; one line
     */
    public static Checkpoint read(Path file) {
        return position(file, content(file));
    }

    /**
     * Restores parameters and state without the optimizer, as an evaluation needs them.
     *
     * @param file a file that {@link #save} wrote
     * @param parameters built parameters of the same architecture; overwritten
     * @return where the run was
     * @throws LearningException as {@link #load}
     */
    public static Checkpoint loadParameters(Path file, Parameters parameters) {
        Safetensors.Content content = content(file);
        List<Restore> restores = restores(file, content, parameters, "");
        restores.forEach(Restore::run);
        parameters.written();
        return position(file, content);
    }

    /**
     * Writes the backbone's weights alone, under their names without {@code backbone.}: the names their architecture is
     * published with.
     *
     * @param file the target
     * @param backbone the backbone's part of the parameters
     * @throws LearningException if the file cannot be written; one line
     */
    public static void saveBackbone(Path file, Parameters backbone) {
        try (Arena arena = Arena.ofShared()) {
            Safetensors.write(file, Map.of("format", "gatun.backbone"), entries(backbone, backbone.prefix(), arena));
        }
    }

    /**
     * Loads weights into a backbone, from a file of {@link #saveBackbone}, from another library's safetensors file with the
     * same names, or from a whole checkpoint.
     *
     * @param file the file
     * @param backbone the backbone's part of built parameters; overwritten
     * @throws LearningException if the file is missing, damaged or of another architecture; one line. Nothing is overwritten
     *     then
     */
    public static void loadBackbone(Path file, Parameters backbone) {
        Safetensors.Content content = Safetensors.read(file);
        boolean whole = "gatun.checkpoint".equals(content.metadata().get("format"));
        if (whole) {
            content.entries().keySet().removeIf(name -> !name.startsWith(backbone.prefix()));
        }
        String prefix = whole ? "" : backbone.prefix();
        List<Restore> restores = restores(file, content, backbone, prefix);
        restores.forEach(Restore::run);
        backbone.written();
    }

    private static Safetensors.Content content(Path file) {
        Safetensors.Content content = Safetensors.read(file);
        if (!"gatun.checkpoint".equals(content.metadata().get("format"))) {
            throw new LearningException(file + ": not a checkpoint of a run (its format is "
                    + content.metadata().getOrDefault("format", "not given") + ")");
        }
        String version = content.metadata().get("version");
        if (!VERSION.equals(version)) {
            throw new LearningException(
                    file + ": a checkpoint of version " + version + "; this library reads version " + VERSION);
        }
        if (!content.checked()) {
            throw new LearningException(file + ": damaged or truncated: it has no checksum");
        }
        return content;
    }

    private static Checkpoint position(Path file, Safetensors.Content content) {
        Map<String, String> metadata = new LinkedHashMap<>(content.metadata());
        metadata.remove("format");
        metadata.remove("version");
        try {
            return new Checkpoint(Long.parseLong(String.valueOf(metadata.remove("step"))), metadata);
        } catch (NumberFormatException e) {
            throw new LearningException(file + ": damaged: it does not say its step", e);
        }
    }

    /** One tensor that will be overwritten once everything has been checked. */
    private record Restore(String name, Tensor target, FileLayout layout, Safetensors.Entry entry) {
        void run() {
            DType dtype = target.dtype();
            target.write(memory -> permute(
                    entry.data(), memory, layout.fileShape(target.shape()), invert(layout, target.rank()), dtype.bytes()));
        }
    }

    private static List<Restore> restores(Path file, Safetensors.Content content, Parameters parameters, String strip) {
        List<Restore> restores = new ArrayList<>();
        Map<String, FileLayout> layouts = layouts(parameters);
        Set<String> known = parameters.tensors().stream()
                .map(tensor -> tensor.name().substring(strip.length()))
                .collect(Collectors.toSet());
        for (String name : content.entries().keySet()) {
            if (!known.contains(name) && !name.startsWith(OPTIMIZER)) {
                throw otherArchitecture(file, "this network has no tensor " + name);
            }
        }
        for (NamedTensor tensor : parameters.tensors()) {
            restores.add(restore(
                    file, content, tensor.name().substring(strip.length()), tensor.tensor(),
                    layouts.getOrDefault(tensor.name(), FileLayout.SAME)));
        }
        return restores;
    }

    private static Restore restore(
            Path file, Safetensors.Content content, String name, Tensor target, FileLayout layout) {
        Safetensors.Entry entry = content.entries().get(name);
        if (entry == null) {
            throw otherArchitecture(file, "it has no tensor " + name);
        }
        long[] shape = layout.fileShape(target.shape());
        if (!Arrays.equals(shape, entry.shape()) || entry.dtype() != target.dtype()) {
            throw otherArchitecture(file, "tensor " + name + " is " + entry.dtype() + Arrays.toString(entry.shape())
                    + ", this network's is " + target.dtype() + Arrays.toString(shape));
        }
        return new Restore(name, target, layout, entry);
    }

    private static LearningException otherArchitecture(Path file, String what) {
        return new LearningException(file + ": of another architecture: " + what);
    }

    private static Map<String, FileLayout> layouts(Parameters parameters) {
        Map<String, FileLayout> layouts = new LinkedHashMap<>();
        for (Parameter parameter : parameters.all()) {
            layouts.put(parameter.name(), parameter.fileLayout());
        }
        if (parameters.isWhole()) {
            parameters.apart().forEach(apart -> layouts.putAll(layouts(apart)));
        }
        return layouts;
    }

    private static List<Safetensors.Entry> entries(Parameters parameters, String strip, Arena arena) {
        List<Safetensors.Entry> entries = new ArrayList<>();
        Map<String, FileLayout> layouts = layouts(parameters);
        for (NamedTensor tensor : parameters.tensors()) {
            String name = tensor.name().substring(strip.length());
            FileLayout layout = layouts.getOrDefault(tensor.name(), FileLayout.SAME);
            entries.add(layout == FileLayout.SAME ? entry(name, tensor.tensor(), arena) : converted(name, tensor.tensor(), layout, arena));
        }
        return entries;
    }

    private static Safetensors.Entry entry(String name, Tensor tensor, Arena arena) {
        return new Safetensors.Entry(name, tensor.dtype(), tensor.shape(), tensor.host(arena));
    }

    private static Safetensors.Entry converted(String name, Tensor tensor, FileLayout layout, Arena arena) {
        MemorySegment memory = tensor.host(arena);
        MemorySegment data = arena.allocate(memory.byteSize(), 64);
        permute(memory, data, tensor.shape(), layout.memoryDimensions(tensor.rank()), tensor.dtype().bytes());
        return new Safetensors.Entry(name, tensor.dtype(), layout.fileShape(tensor.shape()), data);
    }

    private static int[] invert(FileLayout layout, int rank) {
        int[] forward = layout.memoryDimensions(rank);
        int[] inverse = new int[rank];
        for (int i = 0; i < rank; i++) {
            inverse[forward[i]] = i;
        }
        return inverse;
    }

    // dense source of the given shape to a dense target whose dimension i is the source's dimension order[i]
    private static void permute(MemorySegment source, MemorySegment target, long[] shape, int[] order, int bytes) {
        int rank = shape.length;
        boolean same = true;
        for (int i = 0; i < rank; i++) {
            same &= order[i] == i;
        }
        if (same) {
            MemorySegment.copy(source, 0, target, 0, source.byteSize());
            return;
        }
        long[] strides = new long[rank];
        long stride = 1;
        for (int i = rank - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= shape[i];
        }
        long[] at = new long[rank];
        for (long n = 0; n < stride; n++) {
            long from = 0;
            for (int i = 0; i < rank; i++) {
                from += at[i] * strides[order[i]];
            }
            MemorySegment.copy(source, from * bytes, target, n * bytes, bytes);
            for (int i = rank - 1; i >= 0 && ++at[i] == shape[order[i]]; i--) {
                at[i] = 0;
            }
        }
    }
}
