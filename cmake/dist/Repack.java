// SPDX-License-Identifier: Apache-2.0

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/**
 * Repack FROM TO DROP: every jar of folder FROM into TO, without the entries that match the pattern DROP, and not compressed: the archive's xz
 * then sees the content and packs it better. A jar that nothing was dropped from holds the same entries as before.
 */
public class Repack {
    public static void main(String[] arguments) throws IOException {
        Path from = Path.of(arguments[0]);
        Path to = Path.of(arguments[1]);
        Pattern drop = Pattern.compile(arguments[2]);
        List<Path> jars;
        try (Stream<Path> files = Files.list(from)) {
            jars = files.filter(file -> file.toString().endsWith(".jar")).sorted().toList();
        }
        for (Path jar : jars) {
            repack(jar, to.resolve(jar.getFileName()), drop);
        }
    }

    private static void repack(Path from, Path to, Pattern drop) throws IOException {
        try (ZipFile in = new ZipFile(from.toFile()); OutputStream file = Files.newOutputStream(to); ZipOutputStream out = new ZipOutputStream(file)) {
            for (ZipEntry entry : in.stream().toList()) {
                if (entry.isDirectory() || drop.matcher(entry.getName()).find()) {
                    continue;
                }
                byte[] content = in.getInputStream(entry).readAllBytes();
                ZipEntry stored = new ZipEntry(entry.getName());
                stored.setMethod(ZipEntry.STORED);
                stored.setSize(content.length);
                CRC32 sum = new CRC32();
                sum.update(content);
                stored.setCrc(sum.getValue());
                // the same archive from the same sources
                stored.setTimeLocal(LocalDateTime.of(2000, 1, 1, 0, 0));
                out.putNextEntry(stored);
                out.write(content);
                out.closeEntry();
            }
        }
    }
}
