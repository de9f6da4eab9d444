// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.evaluation;

import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/** Rows of contiguous f32 matrices as arrays, and loops over rows on several threads. */
final class Rows {
    private Rows() {}

    /** What is done with the rows {@code from} (inclusive) to {@code to} (exclusive). */
    @FunctionalInterface
    interface Body {
        void run(int from, int to);
    }

    /** Runs a body over [0, count) in one contiguous part a thread; rows must not depend on each other. */
    static void parallel(int threads, int count, Body body) {
        int parts = Math.max(1, Math.min(threads, count));
        List<Throwable> failures = new ArrayList<>();
        List<Thread> workers = new ArrayList<>();
        for (int p = 1; p < parts; p++) {
            int from = (int) ((long) count * p / parts);
            int to = (int) ((long) count * (p + 1) / parts);
            workers.add(Thread.ofPlatform().daemon().start(() -> {
                try {
                    body.run(from, to);
                } catch (Throwable t) {
                    synchronized (failures) {
                        failures.add(t);
                    }
                }
            }));
        }
        body.run(0, (int) ((long) count / parts));
        for (Thread worker : workers) {
            try {
                worker.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException("interrupted", e);
            }
        }
        if (!failures.isEmpty()) {
            throw new IllegalStateException(failures.getFirst());
        }
    }

    /** Copies row {@code row} of a contiguous matrix of {@code width} columns. */
    static void read(MemorySegment matrix, long row, float[] into, int width) {
        MemorySegment.copy(matrix, ValueLayout.JAVA_FLOAT, row * width * Float.BYTES, into, 0, width);
    }

    /** Overwrites row {@code row} of a contiguous matrix of {@code width} columns. */
    static void write(float[] from, MemorySegment matrix, long row, int width) {
        MemorySegment.copy(from, 0, matrix, ValueLayout.JAVA_FLOAT, row * width * Float.BYTES, width);
    }

    /** Divides every row of a contiguous matrix by its length, in place; a row of zeros stays. */
    static void normalise(Tensor matrix) {
        int width = (int) matrix.size(1);
        MemorySegment data = matrix.segment();
        parallel(matrix.device().threads(), (int) matrix.size(0), (from, to) -> {
            float[] row = new float[width];
            for (int i = from; i < to; i++) {
                read(data, i, row, width);
                double sum = 0;
                for (float v : row) {
                    sum += (double) v * v;
                }
                float scale = sum > 0 ? (float) (1 / Math.sqrt(sum)) : 0;
                for (int j = 0; j < width; j++) {
                    row[j] *= scale;
                }
                write(row, data, i, width);
            }
        });
        matrix.written();
    }
}
