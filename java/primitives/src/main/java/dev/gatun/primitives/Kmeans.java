// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * The steps of k-means, plain and spherical: {@link #assign} rows to centroids, {@link #sums} of the rows of each centroid,
 * {@link #update} of the centroids. Sums are a call of their own, so that several machines can add theirs before the centroids move.
 */
public final class Kmeans {
    /** What becomes of a centroid without rows. */
    public enum Empty {
        /** It stays where it is (DeepCluster-v2). */
        KEEP,
        /** It takes half of the largest cluster, both moved apart by 1/1024 (DeepCluster). */
        SPLIT
    }

    private static final Downcall ASSIGN = Downcall.withWorkspace("gatun_kmeans_assign", 4);
    private static final Downcall ASSIGN_WORKSPACE = Downcall.workspaceQuery("gatun_kmeans_assign_workspace");
    private static final Struct ASSIGN_DESC = Struct.descriptor("gatun_kmeans_assign_desc");
    private static final long ASSIGN_SPHERICAL = ASSIGN_DESC.i32("spherical");
    private static final long ASSIGN_ROWS = ASSIGN_DESC.layout("rows");
    private static final long ASSIGN_CENTROIDS = ASSIGN_DESC.layout("centroids");
    private static final long ASSIGN_ASSIGNMENT = ASSIGN_DESC.layout("assignment");
    private static final long ASSIGN_SCORE = ASSIGN_DESC.layout("score");

    private static final Downcall SUMS = Downcall.withWorkspace("gatun_kmeans_sums", 4);
    private static final Downcall SUMS_WORKSPACE = Downcall.workspaceQuery("gatun_kmeans_sums_workspace");
    private static final Struct SUMS_DESC = Struct.descriptor("gatun_kmeans_sums_desc");
    private static final long SUMS_ROWS;
    private static final long SUMS_ASSIGNMENT;
    private static final long SUMS_SUMS;
    private static final long SUMS_COUNTS;

    private static final Downcall UPDATE = Downcall.operation("gatun_kmeans_update", 3);
    private static final Struct UPDATE_DESC = Struct.descriptor("gatun_kmeans_update_desc");
    private static final long UPDATE_SPHERICAL = UPDATE_DESC.i32("spherical");
    private static final long UPDATE_EMPTY = UPDATE_DESC.i32("empty");
    private static final long UPDATE_SUMS;
    private static final long UPDATE_COUNTS;
    private static final long UPDATE_CENTROIDS;

    static {
        SUMS_DESC.u32("reserved");
        SUMS_ROWS = SUMS_DESC.layout("rows");
        SUMS_ASSIGNMENT = SUMS_DESC.layout("assignment");
        SUMS_SUMS = SUMS_DESC.layout("sums");
        SUMS_COUNTS = SUMS_DESC.layout("counts");
        UPDATE_DESC.u32("reserved");
        UPDATE_SUMS = UPDATE_DESC.layout("sums");
        UPDATE_COUNTS = UPDATE_DESC.layout("counts");
        UPDATE_CENTROIDS = UPDATE_DESC.layout("centroids");
    }

    private Kmeans() {}

    /** Bytes of workspace for {@link #assign}: a copy of the centroids. */
    public static long assignWorkspace(GatunStream stream, Operand rows, Operand centroids, Operand assignment, Operand score) {
        try (Call call = Call.of(stream, ASSIGN_WORKSPACE, ASSIGN_DESC)) {
            call.input(ASSIGN_ROWS, "rows", rows);
            call.input(ASSIGN_CENTROIDS, "centroids", centroids);
            call.output(ASSIGN_ASSIGNMENT, "assignment", assignment);
            call.output(ASSIGN_SCORE, "score", score);
            return call.queryWorkspace();
        }
    }

    /**
     * The best centroid of each row, of equally good ones that with the lowest index; −1 with score NaN for a row with a NaN.
     *
     * @param rows f32 (N, D)
     * @param centroids f32 (K, D), K ≥ 1
     * @param assignment i32 (N), written
     * @param score f32 (N), written: the squared distance, or the dot product
     * @param spherical whether the largest dot product wins instead of the smallest distance
     * @param workspace of {@link #assignWorkspace} bytes, aligned to 64
     */
    public static void assign(
            GatunStream stream,
            Operand rows,
            Operand centroids,
            Operand assignment,
            Operand score,
            boolean spherical,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, ASSIGN, ASSIGN_DESC)) {
            call.set(ASSIGN_SPHERICAL, spherical ? 1 : 0);
            call.input(ASSIGN_ROWS, "rows", rows);
            call.input(ASSIGN_CENTROIDS, "centroids", centroids);
            call.output(ASSIGN_ASSIGNMENT, "assignment", assignment);
            call.output(ASSIGN_SCORE, "score", score);
            call.runWithWorkspace(workspace);
        }
    }

    /** Bytes of workspace for {@link #sums}. */
    public static long sumsWorkspace(GatunStream stream, Operand rows, Operand assignment, Operand sums, Operand counts) {
        try (Call call = Call.of(stream, SUMS_WORKSPACE, SUMS_DESC)) {
            call.input(SUMS_ROWS, "rows", rows);
            call.input(SUMS_ASSIGNMENT, "assignment", assignment);
            call.output(SUMS_SUMS, "sums", sums);
            call.output(SUMS_COUNTS, "counts", counts);
            return call.queryWorkspace();
        }
    }

    /**
     * Sum and number of the rows of each centroid.
     *
     * @param rows f32 (N, D)
     * @param assignment i32 (N), each below K; a negative one means that the row belongs to no centroid
     * @param sums f32 (K, D), written
     * @param counts i64 (K), written
     * @param workspace of {@link #sumsWorkspace} bytes, aligned to 64
     */
    public static void sums(
            GatunStream stream, Operand rows, Operand assignment, Operand sums, Operand counts, MemorySegment workspace) {
        try (Call call = Call.of(stream, SUMS, SUMS_DESC)) {
            call.input(SUMS_ROWS, "rows", rows);
            call.input(SUMS_ASSIGNMENT, "assignment", assignment);
            call.output(SUMS_SUMS, "sums", sums);
            call.output(SUMS_COUNTS, "counts", counts);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * Each centroid becomes the mean of its rows; empty ones are kept or split off; then, if spherical, all get unit length.
     *
     * @param sums f32 (K, D)
     * @param counts i64 (K), read and written: sizes after splitting
     * @param centroids f32 (K, D), read and written
     */
    public static void update(
            GatunStream stream, Operand sums, Operand counts, Operand centroids, boolean spherical, Empty empty) {
        try (Call call = Call.of(stream, UPDATE, UPDATE_DESC)) {
            call.set(UPDATE_SPHERICAL, spherical ? 1 : 0);
            call.set(UPDATE_EMPTY, empty.ordinal());
            call.input(UPDATE_SUMS, "sums", sums);
            call.output(UPDATE_COUNTS, "counts", counts);
            call.output(UPDATE_CENTROIDS, "centroids", centroids);
            call.run();
        }
    }
}
