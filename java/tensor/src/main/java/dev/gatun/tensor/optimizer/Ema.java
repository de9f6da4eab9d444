// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Exponential moving average of one network's parameters in another: θ′ ← τθ′ + (1 − τ)θ. Parameters belong together by name;
 * those that lie side by side in both flat buffers are one sweep. State such as running statistics is not averaged.
 */
public final class Ema {
    /** A stretch of both flat buffers. */
    private record Run(Tensor average, Tensor values) {}

    private record Pair(Parameter average, Parameter values) {
        long end(Parameter p) {
            return p.offset() + (p.elements() + Parameters.ALIGNMENT - 1) / Parameters.ALIGNMENT * Parameters.ALIGNMENT;
        }

        boolean continues(Pair before) {
            return before.end(before.average) == average.offset() && before.end(before.values) == values.offset();
        }
    }

    private final Parameters average;
    private final Parameters values;
    private final List<Pair> pairs = new ArrayList<>();
    private List<Run> runs = List.of();

    /**
     * @param average the target network's parameters, updated; usually made by {@link Parameters#apart(String)}. All are declared
     * @param values the online network's parameters, or more; those behind the names of the average are followed
     */
    public Ema(Parameters average, Parameters values) {
        this.average = average;
        this.values = values;
        Map<String, Parameter> online = new HashMap<>();
        values.all().forEach(p -> online.put(p.name().substring(values.prefix().length()), p));
        for (Parameter p : average.all()) {
            String name = p.name().substring(average.prefix().length());
            Parameter followed = online.get(name);
            if (followed == null || !Arrays.equals(followed.shape(), p.shape())) {
                throw new TensorException(
                        "EMA: " + p + " has nothing to follow: " + (followed == null ? "there is no " + name : followed.toString()));
            }
            pairs.add(new Pair(p, followed));
        }
        if (pairs.isEmpty()) {
            throw new TensorException("EMA: " + average.prefix() + " has no parameters yet; declare its network first");
        }
    }

    /** @param tau in [0, 1]: how much of the average is kept */
    public void update(float tau) {
        try (Scope work = average.values().scope().open()) {
            update(work.full(tau, 1));
        }
    }

    /** @param tau f32 (1) on the device, in [0, 1]: how much of the average is kept */
    public void update(Tensor tau) {
        if (runs.isEmpty()) {
            runs = runs();
        }
        for (Run run : runs) {
            dev.gatun.primitives.Optimizer.ema(
                    tau.device().stream(), run.average().operand(), run.values().operand(), tau.operand(), Operand.NONE);
        }
        average.written();
    }

    private List<Run> runs() {
        List<Run> found = new ArrayList<>();
        for (int from = 0, to; from < pairs.size(); from = to) {
            to = from + 1;
            while (to < pairs.size() && pairs.get(to).continues(pairs.get(to - 1))) {
                to++;
            }
            Pair first = pairs.get(from);
            Pair last = pairs.get(to - 1);
            long length = last.average.offset() + last.average.elements() - first.average.offset();
            found.add(new Run(
                    average.values().part(first.average.offset(), length), values.values().part(first.values.offset(), length)));
        }
        return found;
    }

    /** The two networks start equal: copies values and state. */
    public void copy() {
        average.copyFrom(values);
    }
}
