// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Kmeans;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.openjdk.jmh.annotations.Param;

/** A step of k-means: the nearest centroid of each row, then sums of the rows of each. */
public class KmeansBenchmark extends Comparison {
    /** Rows x centroids x dimensions. */
    @Param({"10000x100x128", "4096x3000x128"})
    public String shape;

    @Param({"assign", "sums"})
    public String pass;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand rows = device.normal(1, n[0], n[2]);
        Operand centroids = device.normal(2, n[1], n[2]);
        Operand assignment = device.empty(DType.I32, n[0]);
        Operand score = device.empty(DType.F32, n[0]);
        Operand sums = device.empty(DType.F32, n[1], n[2]);
        Operand counts = device.empty(DType.I64, n[1]);
        MemorySegment assign = device.bytes(Kmeans.assignWorkspace(device.stream, rows, centroids, assignment, score));
        MemorySegment sum = device.bytes(Kmeans.sumsWorkspace(device.stream, rows, assignment, sums, counts));
        Kmeans.assign(device.stream, rows, centroids, assignment, score, false, assign);
        if (pass.equals("assign")) {
            contest.costs(2.0 * n[0] * n[1] * n[2], rows.layout().spanBytes())
                    .ours(() -> Kmeans.assign(device.stream, rows, centroids, assignment, score, false, assign), score);
            contest.torch().ifPresent(torch -> {
                contest.form("product", "", "assign", torch.tensors(rows, centroids));
                contest.form("cdist", torch.tensors(rows, centroids));
            });
        } else {
            contest.costs(0, rows.layout().spanBytes())
                    .ours(() -> Kmeans.sums(device.stream, rows, assignment, sums, counts, sum), () -> {
                        float[] found = new float[(int) n[1]];
                        for (int k = 0; k < n[1]; k++) {
                            found[k] = counts.segment().getAtIndex(ValueLayout.JAVA_LONG, k);
                        }
                        return List.of(sums.segment().toArray(ValueLayout.JAVA_FLOAT), found);
                    });
            contest.torch().ifPresent(torch ->
                    contest.form("index_add", "", "sums", torch.tensors(rows, centroids, assignment)));
        }
    }
}
