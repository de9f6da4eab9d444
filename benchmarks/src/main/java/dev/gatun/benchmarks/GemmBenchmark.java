// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Device;
import java.util.concurrent.TimeUnit;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * c = a · b, row-major: tiles of single-threaded oneDNN on our threads (what Gatun uses, the same bits for any number of threads), oneDNN
 * and OpenBLAS with their own threads. Column flops is floating-point operations a second; {@code ceiling} is the peak of multiply-adds.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class GemmBenchmark {
    /** M x N x K. */
    @Param({"12608x768x192", "12608x192x768", "4096x3000x128", "512x256x128", "512x100x64", "2048x2048x2048"})
    public String shape;

    /** Work done in an iteration; JMH divides it by the time. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double flops;

        @Setup(Level.Iteration)
        public void clear() {
            flops = 0;
        }
    }

    /** Our device: made only where it is measured. */
    @State(Scope.Thread)
    public static class Ours {
        Device device;

        @Setup
        public void open(DeviceState state) {
            device = Device.cpu(state.threads);
        }
    }

    private int m;
    private int n;
    private int k;
    private Operand a;
    private Operand b;
    private Operand c;
    private FloatPointer pa;
    private FloatPointer pb;
    private FloatPointer pc;

    @Setup
    public void setup(DeviceState device) {
        long[] sizes = Shapes.parse(shape);
        m = (int) sizes[0];
        n = (int) sizes[1];
        k = (int) sizes[2];
        a = device.normal(1, m, k);
        b = device.normal(2, k, n);
        c = device.empty(DType.F32, m, n);
        pa = new FloatPointer(a.segment().asByteBuffer().order(java.nio.ByteOrder.nativeOrder()).asFloatBuffer());
        pb = new FloatPointer(b.segment().asByteBuffer().order(java.nio.ByteOrder.nativeOrder()).asFloatBuffer());
        pc = new FloatPointer(c.segment().asByteBuffer().order(java.nio.ByteOrder.nativeOrder()).asFloatBuffer());
    }

    @Benchmark
    public void gatun(Ours ours, DeviceState device, Work work) {
        ours.device.gemm().multiply(device.stream, 1, a, b, 0, c);
        work.flops += 2.0 * m * n * k;
    }

    @Benchmark
    public void openblas(DeviceState device, Work work) {
        openblas_nolapack.blas_set_num_threads(device.threads);
        openblas_nolapack.cblas_sgemm(
                openblas_nolapack.CblasRowMajor, openblas_nolapack.CblasNoTrans, openblas_nolapack.CblasNoTrans, m, n, k, 1, pa, k, pb,
                n, 0, pc, n);
        work.flops += 2.0 * m * n * k;
    }

    @Benchmark
    public void onednn(Work work) {
        dnnl.dnnl_sgemm((byte) 'N', (byte) 'N', m, n, k, 1, pa, k, pb, n, 0, pc, n);
        work.flops += 2.0 * m * n * k;
    }

    @Benchmark
    public void ceiling(DeviceState device, Work work) {
        work.flops += Ceiling.fma(device.stream, 100_000);
    }
}
