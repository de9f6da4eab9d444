// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks;

import java.util.Arrays;

/** Shapes as benchmark parameters: "4096x128". */
final class Shapes {
    private Shapes() {}

    static long[] parse(String shape) {
        return Arrays.stream(shape.split("x")).mapToLong(Long::parseLong).toArray();
    }
}
