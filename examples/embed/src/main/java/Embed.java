// SPDX-License-Identifier: Apache-2.0

import dev.gatun.primitives.DType;
import dev.gatun.primitives.GatunContext;
import dev.gatun.primitives.L2Normalize;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;

/** One fast primitive inside another program: memory in, memory out. */
public class Embed {
    public static void main(String[] arguments) {
        try (Arena arena = Arena.ofConfined();
                var context = GatunContext.cpu(2);
                var stream = context.stream()) {
            var rows = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 3, 4, 6, 8);
            var x = new Operand(rows, Layout.of(DType.F32, 2, 2));
            var norm = new Operand(arena.allocate(8, 4), Layout.of(DType.F32, 2));
            L2Normalize.forward(stream, x, x, norm, 1e-12f);
            System.out.println(rows.getAtIndex(ValueLayout.JAVA_FLOAT, 0) + " " + norm.segment().getAtIndex(ValueLayout.JAVA_FLOAT, 1));
        }
    }
}
