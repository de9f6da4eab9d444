// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.checkpoint;

import dev.gatun.learning.LearningException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/** Files that are never half-written: a temporary file beside the target is written, synced and renamed over it. */
public final class AtomicFile {
    private AtomicFile() {}

    /** What writes a file's bytes. */
    @FunctionalInterface
    public interface Writer {
        /**
         * Writes all of the content.
         *
         * @param channel the temporary file, empty
         * @throws IOException if that fails
         */
        void write(FileChannel channel) throws IOException;
    }

    /**
     * Writes a file.
     *
     * @param file the target, replaced if it exists
     * @param writer writes the content
     * @throws LearningException if the disk is full, the folder read-only or missing; one line. The target is then as it
     *     was and no temporary file remains
     */
    public static void write(Path file, Writer writer) {
        Path temporary = file.resolveSibling(file.getFileName() + ".tmp");
        try {
            try (FileChannel channel = FileChannel.open(
                    temporary,
                    StandardOpenOption.CREATE,
                    StandardOpenOption.TRUNCATE_EXISTING,
                    StandardOpenOption.WRITE)) {
                writer.write(channel);
                channel.force(true);
            }
            Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
            syncFolder(file);
        } catch (IOException e) {
            try {
                Files.deleteIfExists(temporary);
            } catch (IOException ignored) {
                e.addSuppressed(ignored);
            }
            throw new LearningException(reason(file, e, "cannot be written"), e);
        }
    }

    /**
     * Writes a text in UTF-8.
     *
     * @param file the target, replaced if it exists
     * @param text the content
     * @throws LearningException as {@link #write(Path, Writer)}
     */
    public static void write(Path file, String text) {
        write(file, channel -> {
            ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
        });
    }

    /**
     * Creates a folder and its parents.
     *
     * @param folder the folder; may exist
     * @throws LearningException if it cannot be created or written to; one line
     */
    public static void folder(Path folder) {
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new LearningException(reason(folder, e, "cannot be created"), e);
        }
        if (!Files.isWritable(folder)) {
            throw new LearningException(folder + ": cannot be written: read-only or not permitted");
        }
    }

    /**
     * Says in one line why an operation on a file failed.
     *
     * @param file the file
     * @param e the failure
     * @param what what failed, such as "cannot be read"
     */
    public static String reason(Path file, IOException e, String what) {
        return switch (e) {
            case NoSuchFileException missing -> missing.getFile() != null && missing.getFile().equals(file.toString())
                    ? file + (what.equals("cannot be read") ? ": no such file" : ": " + what + ": no such file or folder")
                    : file + ": " + what + ": no folder " + file.toAbsolutePath().getParent();
            case CharacterCodingException encoding -> file + ": " + what + ": not a text in UTF-8";
            case AccessDeniedException denied -> file + ": " + what + ": permission denied";
            case FileAlreadyExistsException exists -> file + ": " + what + ": a file of that name is in the way";
            case FileSystemException other when other.getReason() != null -> file + ": " + what + ": " + other.getReason();
            default -> file + ": " + what + ": " + e.getMessage();
        };
    }

    // a rename is only durable once the folder is synced; where folders cannot be opened, the rename itself has to do
    private static void syncFolder(Path file) {
        try (FileChannel folder = FileChannel.open(file.toAbsolutePath().getParent(), StandardOpenOption.READ)) {
            folder.force(true);
        } catch (IOException e) {
            // the content is complete and named; only its order against a power cut is not guaranteed
        }
    }
}
