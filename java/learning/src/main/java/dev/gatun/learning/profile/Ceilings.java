// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.profile;

import dev.gatun.primitives.Ceiling;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.DeviceKind;
import dev.gatun.primitives.GatunException;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What the device can do at this moment. A copy that fits a cache is faster than one that does not, so its rate is measured at several sizes.
 *
 * @param flops multiply-adds in f32 a second, each counted as two; 0: not measured
 * @param matrixFlops likewise of matrix units with bf16 factors; 0 where there are none
 * @param copies bytes read and written a second, by the bytes of both buffers together
 */
public record Ceilings(double flops, double matrixFlops, SortedMap<Long, Double> copies) {
    /** Nothing is measured: the emulated device is no machine to compare with. */
    public static final Ceilings NONE = new Ceilings(0, 0, new TreeMap<>());

    private static final double LEAST_SECONDS = .01;
    private static final int ROUNDS = 3;
    private static final long[] MEBIBYTES = {1, 4, 16, 64, 256};

    /** Copies the map. */
    public Ceilings {
        copies = new TreeMap<>(copies);
    }

    /** Measures for some tenths of a second. */
    public static Ceilings measure(Device device) {
        if (device.kind() == DeviceKind.EMULATED) {
            return NONE;
        }
        SortedMap<Long, Double> copies = new TreeMap<>();
        try (Scope scope = device.scope().open()) {
            for (long size : MEBIBYTES) {
                Tensor x = scope.zeros(size << 17);
                Tensor y = scope.zeros(size << 17);
                double bytes = (double) (size << 20);
                copies.put(size << 20, rate(device, times -> {
                    for (long i = 0; i < times; i++) {
                        Ceiling.copy(device.stream(), x.operand(), y.operand());
                    }
                    return bytes * times;
                }));
            }
        }
        double fma = rate(device, times -> Ceiling.fma(device.stream(), 1000 * times));
        return new Ceilings(fma, matrixUnits(device), copies);
    }

    private static double matrixUnits(Device device) {
        if (!device.stores(DType.BF16)) {
            return 0;
        }
        try {
            return rate(device, times -> Ceiling.mma(device.stream(), DType.BF16, 100 * times));
        } catch (GatunException e) {
            if (e.status() == GatunException.Status.UNSUPPORTED) {
                return 0;
            }
            throw e;
        }
    }

    private interface Job {
        double run(long times);
    }

    /** The best of some rounds, each long enough for the clock. */
    private static double rate(Device device, Job job) {
        long times = 1;
        double best = 0;
        for (int round = 0; round < ROUNDS;) {
            long start = System.nanoTime();
            double done = job.run(times);
            device.stream().synchronize();
            double seconds = (System.nanoTime() - start) * 1e-9;
            if (seconds < LEAST_SECONDS) {
                times *= 2;
            } else {
                best = Math.max(best, done / seconds);
                round++;
            }
        }
        return best;
    }

    /** The higher of each: a machine that others use as well is at times slower than it can be. */
    public Ceilings max(Ceilings other) {
        SortedMap<Long, Double> both = new TreeMap<>(copies);
        other.copies.forEach((size, rate) -> both.merge(size, rate, Math::max));
        return new Ceilings(Math.max(flops, other.flops), Math.max(matrixFlops, other.matrixFlops), both);
    }

    /** Seconds that work takes at least; 0 where nothing was measured. */
    double seconds(Work work, boolean matrixUnits) {
        if (copies.isEmpty()) {
            return 0;
        }
        double rate = matrixUnits && matrixFlops > 0 ? matrixFlops : flops;
        return Math.max(work.flops() / rate, work.bytes() / copyRate(work.bytes()));
    }

    /** That of the measured size that is nearest. */
    private double copyRate(double bytes) {
        double best = Double.POSITIVE_INFINITY;
        double rate = 0;
        for (Map.Entry<Long, Double> copy : copies.entrySet()) {
            double distance = Math.abs(Math.log(Math.max(bytes, 1) / copy.getKey()));
            if (distance < best) {
                best = distance;
                rate = copy.getValue();
            }
        }
        return rate;
    }
}
