// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import java.util.concurrent.TimeUnit;
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

/** The ceilings: multiply-adds from registers (column flops) and copying (column bytes), both a second. */
@State(Scope.Thread)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class CeilingBenchmark {
    /** Work done in an iteration; JMH divides it by the time. */
    @State(Scope.Thread)
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    public static class Work {
        public double flops;
        public double bytes;

        @Setup(Level.Iteration)
        public void clear() {
            flops = 0;
            bytes = 0;
        }
    }

    @State(Scope.Thread)
    public static class Buffers {
        @Param({"4", "64"})
        public int megabytes;

        Operand x;
        Operand y;

        @Setup
        public void setup(DeviceState device) {
            x = device.empty(DType.F32, megabytes * (1L << 17));
            y = device.empty(DType.F32, megabytes * (1L << 17));
        }
    }

    @Benchmark
    public void fma(DeviceState device, Work work) {
        work.flops += Ceiling.fma(device.stream, 100_000);
    }

    @Benchmark
    public void copy(DeviceState device, Buffers buffers, Work work) {
        Ceiling.copy(device.stream, buffers.x, buffers.y);
        work.bytes += 2.0 * buffers.x.layout().spanBytes();
    }
}
