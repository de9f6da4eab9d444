// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Comparison;
import dev.gatun.benchmarks.Contest;
import dev.gatun.benchmarks.DeviceState;
import dev.gatun.benchmarks.torch.Torch;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Whole training steps of configs/steps/cpu, on views that lie in memory: forward, loss, backward, update. Before anything is timed a step of each side, from
 * the same values and with the same drops, is compared with the same in double precision: {@link DoubleCheck}.
 */
@Warmup(iterations = 0)
@Measurement(iterations = 7)
public class StepBenchmark extends Comparison {
    private static final Path FOLDER = Path.of("configs", "steps", "cpu");

    @Param({"swav", "cosub-subset", "cosub-mask", "resnet18"})
    public String step;

    private Training ours;

    @Override
    protected String operation() {
        return "steps";
    }

    /** Opens the step of a row. */
    static Training open(String step, int threads) {
        String[] parts = step.split("-");
        List<String> overrides = parts.length > 1 ? List.of("model.drop_path_form=" + parts[1]) : List.of();
        return new Training(FOLDER.resolve(parts[0] + ".yaml"), overrides, threads);
    }

    /** PyTorch's forms of a step; what drops rows beside it with the mask that people write. */
    static List<Twin> twins(String step, Training ours, Torch torch, Torch.Script script) {
        List<Twin> twins = new ArrayList<>();
        for (Twin.Form form : List.of(Twin.Form.MODULES, step.startsWith("resnet") ? Twin.Form.NCHW : Twin.Form.ONE_BY_ONE)) {
            twins.add(new Twin(ours, torch, script, form, ours.subset()));
            if (ours.subset()) {
                twins.add(new Twin(ours, torch, script, form, false));
            }
        }
        return twins;
    }

    @Override
    protected void finish() {
        ours.close();
    }

    @Override
    protected void prepare(DeviceState device, Contest contest) {
        ours = open(step, threads);
        contest.costs(StepCosts.flops(ours), 0);
        contest.torch().ifPresent(torch -> {
            List<Twin> twins = twins(step, ours, torch, contest.script());
            check(twins, torch, contest.script());
            for (Twin twin : twins) {
                contest.peer(twin.name(), twin::step, List::of);
                if (twin.name().endsWith("masked") && ours.subset()) {
                    contest.target(twin.name(), 2.1);
                }
            }
        });
        switch (step) {
            case "swav" -> contest.target(1.4);
            case "resnet18" -> contest.target(1.2);
            default -> {}
        }
        contest.ours(ours::step, List::of);
    }

    private void check(List<Twin> twins, Torch torch, Torch.Script script) {
        List<float[]> found;
        List<float[]> exact;
        try (Twin twin = new Twin(ours, torch, script, Twin.Form.EXACT, ours.subset())) {
            found = ours.results();
            exact = twin.results(true);
        }
        for (Twin twin : twins) {
            DoubleCheck.gradients(twin.name(), ours.names(), found, twin.results(false), exact);
        }
        DoubleCheck.update(ours.names(), found, exact);
    }
}
