// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.stream.Stream;

/**
 * Files in a folder. If the folder has sub-folders, each is a class of that name, numbered in the names' order, and
 * files may lie at any depth below it (the ImageFolder convention). If it has none, its files are elements without
 * labels. Names that start with a dot are skipped, as are files whose ending the decoder does not read. The order is
 * that of the names, so it is the same on every machine.
 */
public final class FolderDataset implements Dataset {
    private final Decoder decoder;
    private final List<Path> files;
    private final int[] labels;
    private final List<String> classNames;

    private FolderDataset(Decoder decoder, List<Path> files, int[] labels, List<String> classNames) {
        this.decoder = decoder;
        this.files = files;
        this.labels = labels;
        this.classNames = classNames;
    }

    /**
     * Lists a folder. Files are read and decoded when an element is.
     *
     * @param folder the folder
     * @param decoder what reads its files
     * @throws DataException if the folder is missing, a class or the whole folder has no files that the decoder reads,
     *     or such files lie beside the classes' folders
     */
    public static FolderDataset open(Path folder, Decoder decoder) {
        if (!Files.isDirectory(folder)) {
            throw new DataException(folder.toString(), Files.exists(folder) ? "is not a folder" : "there is no such folder");
        }
        List<Path> classes = children(folder).stream().filter(Files::isDirectory).toList();
        List<Path> loose = children(folder).stream().filter(f -> readable(f, decoder)).toList();
        if (classes.isEmpty()) {
            if (loose.isEmpty()) {
                throw new DataException(folder.toString(), "holds no images" + endings(decoder));
            }
            return new FolderDataset(decoder, loose, new int[0], List.of());
        }
        if (!loose.isEmpty()) {
            throw new DataException(folder.toString(), "holds both class folders (such as " + classes.getFirst().getFileName()
                    + ") and images beside them (such as " + loose.getFirst().getFileName() + ")");
        }
        List<Path> files = new ArrayList<>();
        List<Integer> labels = new ArrayList<>();
        List<String> names = new ArrayList<>();
        for (Path each : classes) {
            List<Path> found = below(each, decoder);
            if (found.isEmpty()) {
                throw new DataException(each.toString(), "holds no images" + endings(decoder));
            }
            found.forEach(f -> labels.add(names.size()));
            files.addAll(found);
            names.add(each.getFileName().toString());
        }
        return new FolderDataset(
                decoder, List.copyOf(files), labels.stream().mapToInt(Integer::intValue).toArray(), List.copyOf(names));
    }

    private static List<Path> children(Path folder) {
        try (Stream<Path> found = Files.list(folder)) {
            return found.filter(FolderDataset::visible).sorted(FolderDataset::byName).toList();
        } catch (IOException | UncheckedIOException e) {
            throw new DataException(folder.toString(), "cannot be listed: " + e.getMessage(), e);
        }
    }

    private static List<Path> below(Path folder, Decoder decoder) {
        try (Stream<Path> found = Files.walk(folder, FileVisitOption.FOLLOW_LINKS)) {
            return found.filter(f -> readable(f, decoder) && shown(folder.relativize(f))).sorted(FolderDataset::byName).toList();
        } catch (IOException | UncheckedIOException e) {
            throw new DataException(folder.toString(), "cannot be listed: " + e.getMessage(), e);
        }
    }

    // compares text, since Path.compareTo differs between file systems
    private static int byName(Path a, Path b) {
        return a.toString().compareTo(b.toString());
    }

    private static boolean visible(Path file) {
        return !file.getFileName().toString().startsWith(".");
    }

    private static boolean shown(Path below) {
        for (Path part : below) {
            if (!visible(part)) {
                return false;
            }
        }
        return true;
    }

    private static boolean readable(Path file, Decoder decoder) {
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        return visible(file) && decoder.extensions().contains(name.substring(name.lastIndexOf('.') + 1)) && Files.isRegularFile(file);
    }

    private static String endings(Decoder decoder) {
        return " (files that end in " + String.join(", ", decoder.extensions().stream().sorted().toList()) + ")";
    }

    @Override
    public int size() {
        return files.size();
    }

    @Override
    public Element read(int index) {
        Path file = files.get(index);
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(file);
        } catch (IOException e) {
            throw new DataException(file.toString(), "cannot be read: " + e.getMessage(), e);
        }
        return decoder.decode(bytes, file.toString());
    }

    @Override
    public boolean labelled() {
        return !classNames.isEmpty();
    }

    @Override
    public int label(int index) {
        Objects.checkIndex(index, files.size());
        return labelled() ? labels[index] : -1;
    }

    @Override
    public int classes() {
        return classNames.size();
    }

    @Override
    public List<String> classNames() {
        return classNames;
    }

    @Override
    public String describe(int index) {
        return files.get(index).toString();
    }
}
