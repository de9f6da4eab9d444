// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Contest;
import dev.gatun.benchmarks.DeviceState;
import dev.gatun.benchmarks.Winograd;
import dev.gatun.benchmarks.torch.Torch;
import java.util.List;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Whole training steps of configs/steps/cpu, on views that lie in memory: forward, loss, backward, update. Before anything is timed a step of each side, from
 * the same values and with the same drops, is compared with the same in double precision: {@link DoubleCheck}.
 */
// PyTorch's compiler, too, takes a core away from the first steps
@Warmup(iterations = 2)
@Measurement(iterations = 7)
public class StepBenchmark extends NetworkComparison {
    @Param({"swav", "cosub-subset", "cosub-mask", "resnet18", "resnet18-winograd"})
    public String step;

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        Steps.compile(step, threads);
        Training ours = own(Steps.open(step, threads));
        contest.costs(StepCosts.flops(ours), 0);
        contest.torch().ifPresent(torch -> {
            Torch.Script script = contest.script();
            List<Twin> twins = Steps.forms(step).stream().map(form -> own(Twin.of(ours, torch, script, form))).toList();
            check(step, ours, twins, torch, script);
            twins.forEach(twin -> contest.peer(twin.name(), twin::step, List::of));
        });
        switch (step) {
            case "swav" -> contest.target(1.4);
            case "cosub-subset" -> Steps.usual(step).forEach(form -> contest.target(form, 2.1));
            case "resnet18" -> contest.target(1.2);
            default -> {}
        }
        contest.ours(ours::step, List::of);
    }

    private static void check(String step, Training ours, List<Twin> twins, Torch torch, Torch.Script script) {
        // before the step of ours, from whose values each twin starts
        List<float[]> erring = Winograd.allowed(step) ? erring(ours, torch, script) : List.of();
        List<float[]> found;
        List<float[]> exact;
        try (Twin twin = new Twin(ours, torch, script, Twin.Form.EXACT, ours.subset())) {
            found = ours.results();
            exact = twin.results(true);
        }
        List<List<float[]>> theirs = twins.stream().map(twin -> twin.results(false)).toList();
        DoubleCheck.gradients("ours", "the loss", ours.names(), found, erring.isEmpty() ? theirs : List.of(erring), exact);
        if (!erring.isEmpty()) {
            for (int i = 0; i < twins.size(); i++) {
                DoubleCheck.gradients(twins.get(i).name(), "the loss", ours.names(), theirs.get(i), List.of(erring), exact);
            }
        }
        DoubleCheck.update(ours.names(), found, exact);
    }

    /** In double precision, but for the errors that ours is allowed. */
    private static List<float[]> erring(Training ours, Torch torch, Torch.Script script) {
        try (Twin twin = new Twin(ours, torch, script, Twin.Form.ERRING, ours.subset())) {
            return twin.results(false);
        }
    }
}
