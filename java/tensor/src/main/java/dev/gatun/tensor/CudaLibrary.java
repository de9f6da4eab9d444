// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.GatunStream;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;

/**
 * NVIDIA's libraries through their JavaCPP presets, which are loaded only when a CUDA device asks for one. The presets bring the binding; the
 * library itself is that of the installed CUDA. What is missing is one error; nothing else is used in its place.
 */
enum CudaLibrary {
    /** Products. */
    CUBLAS(
            "gemm",
            "org.bytedeco.cuda.global.cublas",
            "cuBLAS of CUDA 13 (13.0 or newer)",
            "`gemm: gatun` in the device section of a pipeline file (in Java CudaSettings) takes Gatun's own kernel",
            List.of("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13")),
    /** Convolutions, where they are asked of it. */
    CUDNN(
            "convolution",
            "org.bytedeco.cuda.global.cudnn",
            "cuDNN 9 and cuBLAS, both for CUDA 13",
            "without `convolution: cudnn` in the device section of a pipeline file (in Java CudaSettings) Gatun's own kernels do it",
            List.of(
                    "libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcudnn.so.9", "libcudnn_graph.so.9",
                    "libcudnn_ops.so.9", "libcudnn_cnn.so.9", "libcudnn_adv.so.9"));

    /** Where the presets look beside LD_LIBRARY_PATH and the system's folders. */
    private static final List<String> FOLDERS = List.of("/usr/local/cuda-13.1/lib64", "/usr/local/cuda/lib64", "/usr/lib64");

    private static final Pattern MISSED = Pattern.compile("(lib[\\w.]+\\.so[.\\d]*): cannot open");
    private static final String LINK_PATH = "platform.linkpath";
    private static final String NO_JAR = "org.bytedeco:cuda:13.1-9.19-1.5.13, also with classifier " + Loader.getPlatform()
            + ", is not on the class or module path (on the module path with --add-modules ALL-MODULE-PATH)";

    private final String operation;
    private final String preset;
    private final String product;
    private final String otherwise;
    private final List<String> files;

    CudaLibrary(String operation, String preset, String product, String otherwise, List<String> files) {
        this.operation = operation;
        this.preset = preset;
        this.product = product;
        this.otherwise = otherwise;
        this.files = files;
    }

    /**
     * cuBLASLt on a device.
     *
     * @throws GatunException NO_DEVICE with what is missing
     */
    static Gemm gemm(GatunStream stream, int ordinal, boolean tf32) {
        // before the class that is written against the binding
        CUBLAS.load();
        return CublasLt.open(stream, ordinal, tf32);
    }

    /**
     * cuDNN on a device.
     *
     * @throws GatunException NO_DEVICE with what is missing
     */
    static ConvolutionLibrary convolution(int ordinal, boolean tf32) {
        CUDNN.load();
        return CudnnConvolution.open(ordinal, tf32);
    }

    /**
     * Loads the binding and what it needs.
     *
     * @throws GatunException NO_DEVICE with what is missing, where it was looked for and how to go on without it
     */
    void load() {
        try {
            Class<?> binding = Class.forName(preset, false, CudaLibrary.class.getClassLoader());
            String natives = "org/bytedeco/cuda/" + Loader.getPlatform() + "/libjnicudart.so";
            if (binding.getResource("/" + natives) == null && ClassLoader.getSystemResource(natives) == null) {
                throw missing(NO_JAR);
            }
            searchLibraryPathFirst();
            Loader.load(binding);
        } catch (ClassNotFoundException e) {
            throw missing(NO_JAR);
        } catch (LinkageError e) {
            throw missing(problem(e));
        }
    }

    /** The presets would look into CUDA's usual folder before LD_LIBRARY_PATH, where a user says which of several CUDA is meant. */
    private static synchronized void searchLibraryPathFirst() {
        String first = System.getenv("LD_LIBRARY_PATH");
        Properties properties = Loader.loadProperties();
        String before = properties.getProperty(LINK_PATH, "");
        if (first != null && !first.isEmpty() && !before.startsWith(first)) {
            properties.setProperty(LINK_PATH, before.isEmpty() ? first : first + File.pathSeparator + before);
        }
    }

    private GatunException missing(String why) {
        return new GatunException(GatunException.Status.NO_DEVICE, operation, "needs " + product + ": " + why + "; " + otherwise);
    }

    /** Which file the dynamic linker missed, and where it can have looked. */
    private String problem(LinkageError error) {
        StringBuilder said = new StringBuilder();
        for (Throwable e = error; e != null; e = e.getCause()) {
            said.append(e.getMessage()).append(' ');
        }
        List<Path> folders = folders(System.getenv("LD_LIBRARY_PATH"), System.getProperty("java.library.path"));
        // the linker names the first that it misses; of the others it is known where they usually lie
        Set<String> absent = new LinkedHashSet<>();
        Matcher named = MISSED.matcher(said);
        while (named.find()) {
            absent.add(named.group(1));
        }
        files.stream().filter(file -> folders.stream().noneMatch(folder -> Files.exists(folder.resolve(file)))).forEach(absent::add);
        String what = absent.isEmpty() ? "cannot be loaded (" + said.toString().strip() + ")" : "there is no " + String.join(", ", absent);
        String path = System.getenv("LD_LIBRARY_PATH");
        return what + " in LD_LIBRARY_PATH (" + (path == null ? "not set" : path) + "), " + String.join(", ", FOLDERS)
                + " or the system's folders; set LD_LIBRARY_PATH to the folder that has them";
    }

    /** The folders that may hold a library: those of path variables, the presets' and the system's. */
    static List<Path> folders(String... paths) {
        List<Path> folders = new ArrayList<>();
        for (String path : paths) {
            for (String folder : path == null ? new String[0] : path.split(File.pathSeparator)) {
                try {
                    folders.add(Path.of(folder));
                } catch (InvalidPathException e) {
                    // the linker cannot open such a folder either
                    continue;
                }
            }
        }
        FOLDERS.forEach(folder -> folders.add(Path.of(folder)));
        folders.add(Path.of("/usr/lib/x86_64-linux-gnu"));
        folders.add(Path.of("/lib64"));
        return folders;
    }

    /**
     * Makes a device the calling thread's current one: CUDA takes a stream only where it is the current device's.
     *
     * @param closed whether the device was closed, which is an error
     */
    void use(int ordinal, boolean closed) {
        if (closed) {
            throw new GatunException(GatunException.Status.INVALID_ARGUMENT, operation, "the device is closed");
        }
        int status = cudart.cudaSetDevice(ordinal);
        if (status != 0) {
            throw new GatunException(
                    GatunException.Status.INTERNAL, operation,
                    "CUDA cannot use device " + ordinal + ": " + cudart.cudaGetErrorName(status).getString());
        }
    }

    /** A library as reports name it, from the number that it gives as its version. */
    static String name(String library, long version, boolean tf32) {
        return library + " " + version / 10000 + "." + version / 100 % 100 + "." + version % 100 + (tf32 ? ", f32 as TF32" : "");
    }

    /** Memory, or an opaque handle, as the presets take it. Its address may be set anew for each call, so that a call makes no garbage. */
    static final class Address extends Pointer {
        Address() {
            super((Pointer) null);
        }

        Address at(long value) {
            address = value;
            return this;
        }
    }
}
