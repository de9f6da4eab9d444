// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.benchmarks.Winograd;
import dev.gatun.benchmarks.torch.Torch;
import dev.gatun.learning.optimizer.AdamWProvider;
import dev.gatun.learning.optimizer.SgdProvider;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Scope;
import dev.gatun.vision.backbone.VitSettings;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/** The step of a {@link Training} in PyTorch, from copies of its values and on its views: script {@code steps}. */
final class Twin implements AutoCloseable {
    /** How PyTorch is told to compute the same. */
    enum Form {
        /** as people write it; convolutions channels-last */
        MODULES,
        /** blocks' linear layers as 1x1 convolutions */
        ONE_BY_ONE,
        /** convolutions of contiguous channels */
        NCHW,
        /** modules in double precision: what the others are judged by */
        EXACT,
        /** the same, but 3x3 convolutions of stride 1 err by what ours may */
        ERRING;

        String text() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Of a ResNet-18: as many of 64 channels, of 128, of 256 and of 512. */
    private static final int BATCH_NORMS_A_WIDTH = 5;

    /** Values of PyTorch's to close: those that live as long as this, then those of a step. */
    private final List<Torch.Value> owned = new ArrayList<>();
    private final Training ours;
    private final Torch torch;
    private final Torch.Script script;
    private final Form form;
    private final boolean subset;
    private final Torch.Value none;
    private final Torch.Value oneByOne;
    private final Torch.Value error;
    private final Torch.Value images;
    private final Torch.Value labels;
    private final Torch.Value parameters;
    private final Torch.Value values;
    private final Torch.Value firstMoments;
    private final Torch.Value secondMoments;
    private final Torch.Value counters;
    private final Torch.Value groups;
    private final Torch.Value statistics;
    private final Torch.Value rate;
    private final Torch.Value decay;

    /**
     * A training of its own, which starts where ours stands.
     *
     * @param subset where residuals are dropped, whether only what is kept is computed
     */
    Twin(Training ours, Torch torch, Torch.Script script, Form form, boolean subset) {
        this.ours = ours;
        this.torch = torch;
        this.script = script;
        this.form = form;
        this.subset = subset;
        none = own(list(torch, script));
        Torch.Value nchw = flag(form == Form.NCHW);
        oneByOne = flag(form == Form.ONE_BY_ONE);
        error = number(form == Form.ERRING ? Winograd.ALLOWED_ERROR : 0);
        images = run("images", precise(own(list(torch, script, ours.views()))), nchw);
        labels = own(ints(torch, script, ours.labels()));
        parameters = run("parameters", precise(own(list(torch, script, ours.values()))), nchw);
        values = run("detached", parameters);
        firstMoments = run("zeros", parameters);
        boolean adam = ours.pipeline().optimizer().settings() instanceof AdamWProvider.Settings;
        secondMoments = adam ? run("zeros", parameters) : none;
        counters = run("counters", parameters);
        groups = run("groups", own(ints(torch, script, ours.decays())));
        statistics = precise(run("statistics", own(ints(torch, script, widths()))));
        rate = number(ours.rate());
        decay = number(
                switch (ours.pipeline().optimizer().settings()) {
                    case AdamWProvider.Settings s -> s.weightDecay();
                    case SgdProvider.Settings s -> s.weightDecay();
                    default -> throw new IllegalArgumentException("there is no twin of this optimizer");
                });
    }

    /** The form of {@link Steps#forms}. */
    static Twin of(Training ours, Torch torch, Torch.Script script, String name) {
        Form form = Arrays.stream(Form.values()).filter(one -> name.startsWith(one.text())).findFirst().orElseThrow();
        return new Twin(ours, torch, script, form, name.endsWith(Steps.SUBSET));
    }

    /** A list in the script's hands. */
    static Torch.Value list(Torch torch, Torch.Script script, Operand... operands) {
        Torch.Value list = script.run("empty");
        for (Operand operand : operands) {
            try (Torch.Value shorter = list; Torch.Value one = torch.tensor(operand)) {
                list = script.run("with_one_more", shorter, one);
            }
        }
        return list;
    }

    /** A vector of PyTorch's own. */
    static Torch.Value ints(Torch torch, Torch.Script script, int[] all) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocateFrom(ValueLayout.JAVA_INT, all);
            try (Torch.Value view = torch.tensor(new Operand(memory, Layout.of(DType.I32, all.length)))) {
                return script.run("long", view);
            }
        }
    }

    /** The form's name in the results. */
    String name() {
        return form.text() + (ours.drops() ? subset ? Steps.SUBSET : Steps.MASKED : "");
    }

    private Torch.Value own(Torch.Value value) {
        owned.add(value);
        return value;
    }

    private Torch.Value run(String method, Torch.Value... arguments) {
        return own(script.run(method, arguments));
    }

    private Torch.Value flag(boolean on) {
        return integer(on ? 1 : 0);
    }

    private Torch.Value integer(long value) {
        return own(torch.integer(value));
    }

    private Torch.Value number(double value) {
        return own(torch.number(value));
    }

    private Torch.Value precise(Torch.Value list) {
        return form == Form.EXACT || form == Form.ERRING ? run("doubles", list) : list;
    }

    // channels of the batch norms, in the order in which they are used
    private int[] widths() {
        return switch (ours.pipeline().method().name()) {
            case "swav" -> new int[] {2048};
            case "supervised" -> IntStream.range(0, 4 * BATCH_NORMS_A_WIDTH).map(i -> 64 << i / BATCH_NORMS_A_WIDTH).toArray();
            default -> new int[0];
        };
    }

    /** One step, which draws for itself what it drops. */
    void step() {
        int before = owned.size();
        step(draw(), none);
        close(before);
    }

    private Torch.Value draw() {
        if (!ours.drops()) {
            return run("given", none);
        }
        VitSettings vit = vit();
        return run("draw", integer(2L * vit.depth()), integer(2L * ours.batch()), number(vit.dropPath()), flag(subset));
    }

    /**
     * Trains a step that drops what ours does in its first.
     *
     * @param update with the gradients that ours has now, instead of those found
     * @return loss, gradients and the parameters after the step in the layout of ours
     */
    List<float[]> results(boolean update) {
        int before = owned.size();
        List<float[]> results = new ArrayList<>();
        try (Scope scope = ours.device().scope().open()) {
            Torch.Value draws = run("given", own(list(torch, script, ours.draws(scope))));
            if (ours.subset() && !subset) {
                draws = run("factors", draws, integer(2L * ours.batch()));
            }
            Torch.Value gradients = update ? run("images", precise(own(list(torch, script, ours.gradients()))), flag(form == Form.NCHW)) : none;
            for (Torch.Value part : new Torch.Value[] {step(precise(draws), gradients), values}) {
                results.addAll(run("restored", part).floats());
            }
        } finally {
            close(before);
        }
        return results;
    }

    private Torch.Value step(Torch.Value draws, Torch.Value gradients) {
        return switch (ours.pipeline().method().name()) {
            case "swav" -> run("swav_step", images, parameters, statistics, values, firstMoments, secondMoments, counters, gradients, groups, rate,
                    decay, integer(vit().depth()), integer(vit().heads()), oneByOne);
            case "cosub" -> run("cosub_step", images, labels, parameters, draws, values, firstMoments, secondMoments, counters, gradients, groups,
                    rate, decay, integer(vit().depth()), integer(vit().heads()), oneByOne);
            case "supervised" -> run(
                    "supervised_step", images, labels, parameters, statistics, values, firstMoments, gradients, groups, rate, decay, error);
            default -> throw new IllegalArgumentException("there is no twin of the method " + ours.pipeline().method().name());
        };
    }

    private VitSettings vit() {
        return (VitSettings) ours.pipeline().model().settings();
    }

    /** Gives its memory back; ours stays. */
    @Override
    public void close() {
        close(0);
    }

    private void close(int from) {
        while (owned.size() > from) {
            owned.removeLast().close();
        }
    }
}
