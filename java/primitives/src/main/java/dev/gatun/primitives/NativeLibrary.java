// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * One of Gatun's shared objects, one a {@link DeviceKind}. Looked for in this order: the file that the system property {@code gatun.library}
 * ({@code gatun.library.cuda}, {@code gatun.library.emulated}) names; for the latter two, their file beside the one that
 * {@code gatun.library} names; the resource {@code META-INF/native/<os>-<arch>/libgatun.so} of the {@code gatun-native} jar, extracted to
 * {@code <gatun.extract.dir or java.io.tmpdir>/gatun_<user>/<sha256>/}. Nothing is ever downloaded.
 */
public final class NativeLibrary {
    /** The interface these bindings were written for; {@code GATUN_ABI_VERSION} of the header. */
    static final int ABI_VERSION = 4;

    private static final Downcall VERSION = Downcall.of("gatun_abi_version", "i32()");
    private static final Downcall ABI_DESCRIBE = Downcall.of("gatun_abi_describe", "i32(ptr,u64,ptr,ptr)");
    private static final Downcall INFO = Downcall.of("gatun_info", "i32(ptr,u64,ptr,ptr)");

    private final SymbolLookup symbols;
    private final Path file;
    /** By {@link Downcall#index}; replaced, not changed, when a function is looked up for the first time. */
    private volatile @Nullable MemorySegment[] addresses = {};

    private static final Map<DeviceKind, NativeLibrary> LOADED = new ConcurrentHashMap<>();

    private NativeLibrary(SymbolLookup symbols, Path file) {
        this.symbols = symbols;
        this.file = file;
    }

    /** The CPU library, loaded at first use. */
    public static NativeLibrary cpu() {
        return of(DeviceKind.CPU);
    }

    /**
     * The library of a kind of device, loaded at first use. That of CUDA loads on a machine without a driver too; its contexts then say so.
     *
     * @throws GatunException NO_DEVICE if there is no such library, or not for this platform
     */
    public static NativeLibrary of(DeviceKind kind) {
        return LOADED.computeIfAbsent(kind, k -> open(locate(k)));
    }

    /** The file that was loaded. */
    public Path file() {
        return file;
    }

    /** What the library was compiled to, a line a function or struct. */
    public String abi() {
        return text(ABI_DESCRIBE);
    }

    /** A JSON object: compiler, device, instruction set, operations with the level chosen for each. */
    public String info() {
        return text(INFO);
    }

    private static NativeLibrary open(Path file) {
        SymbolLookup symbols;
        try {
            symbols = SymbolLookup.libraryLookup(file, Arena.global());
        } catch (IllegalArgumentException e) {
            throw new GatunException(GatunException.Status.NO_DEVICE, "load", "cannot load " + file + ": " + e.getMessage());
        } catch (IllegalCallerException e) {
            throw new GatunException(
                    GatunException.Status.NO_DEVICE, "load", "native access is off: run java with --enable-native-access="
                            + (NativeLibrary.class.getModule().isNamed() ? "dev.gatun.primitives" : "ALL-UNNAMED"));
        }
        NativeLibrary library = new NativeLibrary(symbols, file);
        int version = Downcall.status(() -> (int) VERSION.handle().invokeExact(library.address(VERSION)));
        if (version != ABI_VERSION) {
            throw new GatunException(
                    GatunException.Status.NO_DEVICE, "load", file + " has interface version " + version + ", these classes need "
                            + ABI_VERSION);
        }
        return library;
    }

    private static Path locate(DeviceKind kind) {
        String given = System.getProperty(kind.property(), "");
        if (!given.isEmpty()) {
            Path path = Path.of(given).toAbsolutePath();
            if (!Files.isRegularFile(path)) {
                throw new GatunException(
                        GatunException.Status.NO_DEVICE, "load", kind.property() + " names " + path + ", which is no file");
            }
            return path;
        }
        String cpu = System.getProperty(DeviceKind.CPU.property(), "");
        if (!cpu.isEmpty()) {
            Path sibling = Path.of(cpu).toAbsolutePath().resolveSibling(kind.file());
            if (Files.isRegularFile(sibling)) {
                return sibling;
            }
        }
        String platform = System.getProperty("os.name").toLowerCase(Locale.ROOT).replaceAll("[^a-z].*", "") + "-"
                + switch (System.getProperty("os.arch")) {
                    case "amd64", "x86_64" -> "x86_64";
                    case "aarch64", "arm64" -> "aarch64";
                    default -> System.getProperty("os.arch");
                };
        String resource = "META-INF/native/" + platform + "/" + kind.file();
        try (InputStream stream = ClassLoader.getSystemClassLoader().getResourceAsStream(resource)) {
            if (stream == null) {
                throw new GatunException(
                        GatunException.Status.NO_DEVICE,
                        "load",
                        "no library of device " + kind + " for " + platform + ": in a checkout `make" + (kind == DeviceKind.CPU ? "" : " " + kind)
                                + "` builds it; elsewhere add dev.gatun:gatun-native with classifier " + platform
                                + ", or set -D" + kind.property() + "=/path/to/" + kind.file());
            }
            return extract(kind.file(), stream.readAllBytes());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Path extract(String file, byte[] bytes) throws IOException {
        String sum;
        try {
            sum = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
        Path base = Path.of(System.getProperty("gatun.extract.dir", System.getProperty("java.io.tmpdir")));
        Path directory = base.resolve("gatun_" + System.getProperty("user.name")).resolve(sum.substring(0, 16));
        boolean posix = FileSystems.getDefault().supportedFileAttributeViews().contains("posix");
        if (posix) {
            Files.createDirectories(directory, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } else {
            Files.createDirectories(directory);
        }
        Path target = directory.resolve(file);
        // The name holds the checksum, but the content could have been replaced since: it is compared, not trusted.
        if (!Files.isRegularFile(target) || !Arrays.equals(Files.readAllBytes(target), bytes)) {
            Path temporary = Files.createTempFile(directory, "libgatun", ".part");
            Files.write(temporary, bytes);
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
        return target;
    }

    private MemorySegment find(String name) {
        return symbols.find(name)
                .orElseThrow(() -> new GatunException(GatunException.Status.NO_DEVICE, "load", file + " has no function " + name));
    }

    MemorySegment address(Downcall downcall) {
        @Nullable MemorySegment[] known = addresses;
        int index = downcall.index();
        MemorySegment address = index < known.length ? known[index] : null;
        return address != null ? address : look(downcall);
    }

    private synchronized MemorySegment look(Downcall downcall) {
        MemorySegment address = find(downcall.name());
        @Nullable MemorySegment[] more = Arrays.copyOf(addresses, Math.max(addresses.length, downcall.index() + 1));
        more[downcall.index()] = address;
        addresses = more;
        return address;
    }

    private String text(Downcall downcall) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment needed = arena.allocate(ValueLayout.JAVA_LONG);
            MemorySegment error = Call.newError(arena);
            Call.check((int) downcall.handle().invokeExact(address(downcall), MemorySegment.NULL, 0L, needed, error), error);
            long bytes = needed.get(ValueLayout.JAVA_LONG, 0);
            MemorySegment text = arena.allocate(bytes);
            Call.check((int) downcall.handle().invokeExact(address(downcall), text, bytes, needed, error), error);
            return new String(text.asSlice(0, bytes - 1).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }
}
