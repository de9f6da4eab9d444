// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.learning.checkpoint.AtomicFile;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Keeps a second run out of a run's folder, where the two would replace each other's files. The operating system holds the
 * lock: a run that was killed leaves the file, but not the lock.
 */
final class FolderLock implements AutoCloseable {
    private static final String FILE = "run.lock";

    private final Path file;
    private final FileChannel channel;

    private FolderLock(Path file, FileChannel channel) {
        this.file = file;
        this.channel = channel;
    }

    /**
     * Takes the lock.
     *
     * @param folder the run's folder
     * @throws LearningException if another run has it, or the folder cannot be written; one line
     */
    static FolderLock take(Path folder) {
        Path file = folder.resolve(FILE);
        FileChannel channel = null;
        boolean taken = false;
        try {
            channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            FileLock lock = channel.tryLock();
            taken = lock != null;
        } catch (OverlappingFileLockException e) {
            // by another run within this program
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be written"), e);
        } finally {
            if (!taken && channel != null) {
                close(channel);
            }
        }
        if (!taken) {
            throw new LearningException(folder + ": another run writes into this folder");
        }
        return new FolderLock(file, channel);
    }

    @Override
    public void close() {
        try {
            Files.deleteIfExists(file);
        } catch (IOException e) {
            // a file without a lock keeps nobody out
        }
        close(channel);
    }

    private static void close(FileChannel channel) {
        try {
            channel.close();
        } catch (IOException e) {
            // nothing was written
        }
    }
}
