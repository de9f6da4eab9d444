// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How the tokens of one matrix (T, C) belong to sequences, and which sequences run through a residual branch: groups of equally long
 * sequences, one group after the other.
 *
 * @param groups in the order of their tokens; either all or none of them say which sequences they keep
 */
public record Sequences(List<Group> groups) {
    /**
     * Equally long sequences.
     *
     * @param count how many
     * @param length tokens of each
     * @param kept i32 (n): those that run through the branch, no sequence twice (checked where the host reaches them); null: all
     * @param most of them that may be kept: memory is taken for so many, so that a step's memory does not depend on what is drawn; {@code count}
     *     where all are
     * @param factor of the branch's result; 1 where all are kept
     */
    public record Group(int count, int length, @Nullable Tensor kept, int most, float factor) {
        /** Checks the numbers. */
        public Group {
            if (count < 0 || length < 0 || most < 0 || most > count || kept != null && kept.elements() > most) {
                throw new TensorException("sequences: " + count + " of " + length + " tokens, at most " + most + " kept");
            }
            if (kept == null && (most != count || factor != 1f)) {
                throw new TensorException("sequences: all of " + count + " are kept, not at most " + most + ", and by factor 1, not " + factor);
            }
            if (kept != null && kept.device().sharesHostMemory()) {
                requireOnce(kept.toIntArray(), count);
            }
        }

        /** A sequence kept twice would be written by two chains at once. */
        private static void requireOnce(int[] kept, int count) {
            BitSet seen = new BitSet(count);
            for (int i : kept) {
                if (i < 0 || i >= count || seen.get(i)) {
                    throw new TensorException("sequences: " + i + (i < 0 || i >= count ? " is none of " + count : " is kept twice"));
                }
                seen.set(i);
            }
        }

        /** How many run through the branch. */
        int sequences() {
            return kept == null ? count : Math.toIntExact(kept.elements());
        }
    }

    /** A piece of one group that is computed at once, with the place of its first token among all and among the kept. */
    record Piece(Group group, long groupToken, int first, int sequences, long keptRow) {
        int rows() {
            return sequences * group.length;
        }

        /** Where its tokens are in the matrix of all; only where all are kept. */
        long token() {
            return groupToken + (long) first * group.length;
        }
    }

    /** Checks the groups. */
    public Sequences {
        groups = List.copyOf(groups);
        long kept = groups.stream().filter(group -> group.kept != null).count();
        if (groups.isEmpty() || kept != 0 && kept != groups.size()) {
            throw new TensorException("sequences: either all groups or none say which sequences they keep, and there is one at least");
        }
    }

    /** All of {@code count} sequences of {@code length} tokens. */
    public static Sequences all(long count, long length) {
        int n = Math.toIntExact(count);
        return new Sequences(List.of(new Group(n, Math.toIntExact(length), null, n, 1f)));
    }

    /** Tokens of all groups. */
    public long tokens() {
        return groups.stream().mapToLong(group -> (long) group.count * group.length).sum();
    }

    /** Whether only some sequences run through the branch. */
    boolean some() {
        return groups.getFirst().kept != null;
    }

    /** Rows to take memory for. */
    long rows() {
        return groups.stream().mapToLong(group -> (long) group.most * group.length).sum();
    }

    /**
     * At most so many chains of pieces, a chain's pieces one after the other: about equally many rows in each chain, at most {@code rows} in a piece
     * if one sequence is no longer than that, whole sequences, none empty. A function of the shapes and of how many sequences are kept alone.
     */
    List<List<Piece>> chains(int count, int rows) {
        long total = groups.stream().mapToLong(group -> (long) group.sequences() * group.length).sum();
        List<List<Piece>> chains = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            List<Piece> chain = new ArrayList<>();
            addPieces(chain, total * i / count, total * (i + 1) / count, rows);
            if (!chain.isEmpty()) {
                chains.add(chain);
            }
        }
        return chains;
    }

    /** The pieces of the sequences whose first row, counted without those that are left out, is in [from, to). */
    private void addPieces(List<Piece> chain, long from, long to, int rows) {
        long counted = 0;
        long token = 0;
        long row = 0;
        for (Group group : groups) {
            int length = Math.max(1, group.length);
            int sequences = group.length == 0 ? 0 : group.sequences();
            int first = (int) Math.clamp((from - counted + length - 1) / length, 0, sequences);
            int end = (int) Math.clamp((to - counted + length - 1) / length, 0, sequences);
            int most = Math.max(1, rows / length);
            int count = (end - first + most - 1) / most;
            for (int i = 0; i < count; i++) {
                int start = first + (int) ((long) (end - first) * i / count);
                int stop = first + (int) ((long) (end - first) * (i + 1) / count);
                chain.add(new Piece(group, token, start, stop - start, row + (long) start * length));
            }
            counted += (long) sequences * length;
            token += (long) group.count * group.length;
            row += (long) group.most * group.length;
        }
    }
}
