// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Contest;
import dev.gatun.benchmarks.Winograd;
import dev.gatun.benchmarks.torch.Torch;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Param;

/**
 * Whole training steps of configs/steps/cpu, on views that lie in memory: forward, loss, backward, update. Before anything is timed a step of each side, from
 * the same values and with the same drops, is compared with the same in double precision: {@link DoubleCheck}.
 */
@Measurement(iterations = 7)
public class StepBenchmark extends NetworkComparison {
    /** What rounding and errors do to ReLUs is a matter of chance. */
    private static final int ERRING_SAMPLES = 2;

    @Param({"swav", "cosub-subset", "cosub-mask", "resnet18", "resnet18-winograd"})
    public String step;

    @Override
    protected void prepare(Contest contest) {
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
        Map<String, List<float[]>> erring = new LinkedHashMap<>();
        for (int sample = 1; Winograd.allowed(step) && sample <= ERRING_SAMPLES; sample++) {
            try (Twin twin = new Twin(ours, torch, script, Twin.Form.ERRING, ours.subset())) {
                erring.put("erring " + sample, twin.results(false));
            }
        }
        List<float[]> found;
        List<float[]> exact;
        try (Twin twin = new Twin(ours, torch, script, Twin.Form.EXACT, ours.subset())) {
            found = ours.results();
            exact = twin.results(true);
        }
        Map<String, List<float[]>> theirs = new LinkedHashMap<>();
        twins.forEach(twin -> theirs.put(twin.name(), twin.results(false)));
        DoubleCheck check = new DoubleCheck("the loss", ours.names(), exact, step.startsWith("resnet") ? DoubleCheck.RELUS : DoubleCheck.SMOOTH);
        check.gradients("ours", found, erring.isEmpty() ? theirs : erring);
        if (!erring.isEmpty()) {
            theirs.forEach((form, results) -> check.gradients(form, results, erring));
        }
        check.update(found);
    }
}
