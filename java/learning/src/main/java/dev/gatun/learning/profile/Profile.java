// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.profile;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where the time of some training steps went. All numbers are those of one step, the mean of the profiled ones.
 *
 * @param device where it computed, in words
 * @param images samples of a step
 * @param steps how many were profiled
 * @param seconds by the clock
 * @param plainSeconds of steps in between that were not profiled: what profiling costs is the difference
 * @param kernels calls of operations, by operation, what it did and shapes; the longest first
 * @param waiting seconds until the samples of a step were there
 * @param memory seconds in which memory was taken from the system and given back
 * @param java all other seconds: the program around the calls
 * @param beside seconds of calls that other threads made during the steps; they are no part of the sum
 * @param ceilings of the device, measured before and after the steps
 */
public record Profile(
        String device, int images, int steps, double seconds, double plainSeconds, List<Kernel> kernels, double waiting, double memory,
        double java, double beside, Ceilings ceilings) {
    /**
     * Calls that are alike.
     *
     * @param operation the C function without {@code gatun_}
     * @param detail which of several things it did; empty if it does one thing only
     * @param shapes its operands in words; empty for all shapes together
     * @param calls in a step
     * @param seconds of all these calls
     * @param flops of all; 0 where the work is not of that kind
     * @param bytes of their operands
     * @param boundSeconds what the ceilings allow at best; 0 where they are not known
     */
    public record Kernel(
            String operation, String detail, String shapes, double calls, double seconds, double flops, double bytes, double boundSeconds) {
        /** The share of the ceiling that binds; NaN where it is not known. */
        public double fraction() {
            return boundSeconds == 0 ? Double.NaN : boundSeconds / seconds;
        }
    }

    /** Copies the list. */
    public Profile {
        kernels = List.copyOf(kernels);
    }

    /** The parts added up: equal to {@link #seconds} but for rounding. */
    public double sum() {
        return kernels.stream().mapToDouble(Kernel::seconds).sum() + waiting + memory + java;
    }

    /** All shapes and details of an operation together; the longest first. */
    public List<Kernel> operations() {
        Map<String, Kernel> byName = new LinkedHashMap<>();
        for (Kernel k : kernels) {
            byName.merge(k.operation(), new Kernel(k.operation(), "", "", k.calls(), k.seconds(), k.flops(), k.bytes(), k.boundSeconds()),
                    (a, b) -> new Kernel(a.operation(), "", "", a.calls() + b.calls(), a.seconds() + b.seconds(), a.flops() + b.flops(),
                            a.bytes() + b.bytes(), a.boundSeconds() + b.boundSeconds()));
        }
        List<Kernel> sorted = new ArrayList<>(byName.values());
        sorted.sort(Comparator.comparingDouble(Kernel::seconds).reversed());
        return sorted;
    }
}
