// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import java.nio.ByteOrder;
import java.util.List;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.openjdk.jmh.annotations.Param;

/** Matrix products as layers have them, by whatever the device's interface picks; the libraries it could pick are the peers where PyTorch is not in the
 * process, which brings its own under the same names. */
public class GemmBenchmark extends Comparison {
    /** M x N x K: the rows of a batch, outputs, inputs. */
    @Param({"12608x768x192", "12608x192x768", "4096x3000x128", "2048x2048x2048", "512x256x128"})
    public String shape;

    @Param({"forward", "forwardBackward"})
    public String pass;

    private Device ours;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        long[] n = Shapes.parse(shape);
        Operand a = device.normal(1, n[0], n[2]);
        Operand b = device.normal(2, n[2], n[1]);
        Operand c = device.empty(DType.F32, n[0], n[1]);
        Operand dc = device.normal(3, n[0], n[1]);
        Operand da = device.empty(DType.F32, n[0], n[2]);
        Operand db = device.empty(DType.F32, n[2], n[1]);
        double flops = 2.0 * n[0] * n[1] * n[2];
        double bytes = a.layout().spanBytes() + b.layout().spanBytes() + c.layout().spanBytes();
        boolean backward = !pass.equals("forward");
        ours = own(Device.cpu(threads));
        contest.target(0.97);
        if (backward) {
            contest.costs(3 * flops, 2 * bytes).ours(
                    () -> {
                        multiply(a, b, c);
                        multiply(dc, transposed(b), da);
                        multiply(transposed(a), dc, db);
                    },
                    c, da, db);
        } else {
            contest.costs(flops, bytes).ours(() -> multiply(a, b, c), c);
        }
        contest.torch().ifPresent(torch -> contest.form("matmul", "", backward ? "product_backward" : "product", torch.tensors(a, b, dc)));
        contest.nd4j().ifPresent(nd4j -> {
            INDArray product = nd4j.empty(n[0], n[1]);
            Runnable matmul = nd4j.call("matmul", List.of(nd4j.array(a), nd4j.array(b)), List.of(product));
            if (backward) {
                INDArray dleft = nd4j.empty(n[0], n[2]);
                INDArray dright = nd4j.empty(n[2], n[1]);
                contest.nd4j(
                        "matmul",
                        nd4j.all(
                                matmul,
                                nd4j.call("matmul", List.of(nd4j.array(dc), nd4j.array(b)), List.of(dleft), 0, 1),
                                nd4j.call("matmul", List.of(nd4j.array(a), nd4j.array(dc)), List.of(dright), 1, 0)),
                        product, dleft, dright);
            } else {
                contest.nd4j("matmul", matmul, product);
            }
        });
        if (contest.alone() && !backward) {
            libraries(contest, (int) n[0], (int) n[1], (int) n[2], a, b, device.empty(DType.F32, n[0], n[1]));
        }
    }

    private void libraries(Contest contest, int m, int n, int k, Operand a, Operand b, Operand c) {
        FloatPointer pa = pointer(a);
        FloatPointer pb = pointer(b);
        FloatPointer pc = pointer(c);
        openblas_nolapack.blas_set_num_threads(threads);
        contest.peer(
                "openblas",
                () -> openblas_nolapack.cblas_sgemm(
                        openblas_nolapack.CblasRowMajor, openblas_nolapack.CblasNoTrans, openblas_nolapack.CblasNoTrans, m, n, k, 1, pa, k, pb,
                        n, 0, pc, n),
                c);
        contest.peer("onednn", () -> dnnl.dnnl_sgemm((byte) 'N', (byte) 'N', m, n, k, 1, pa, k, pb, n, 0, pc, n), c);
    }

    private static FloatPointer pointer(Operand operand) {
        return new FloatPointer(operand.segment().asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer());
    }

    /** As a layer calls it: with memory to work in, without which the device's own kernel takes no part. */
    private void multiply(Operand a, Operand b, Operand c) {
        try (Scope work = ours.scope().open()) {
            ours.gemm().multiply(work, 1, a, b, 0, c);
        }
    }

    private static Operand transposed(Operand x) {
        Layout layout = x.layout();
        return new Operand(
                x.segment(),
                Layout.strided(DType.F32, new long[] {layout.size(1), layout.size(0)}, new long[] {1, layout.size(1)}));
    }
}
