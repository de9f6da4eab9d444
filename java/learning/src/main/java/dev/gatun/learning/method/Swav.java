// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.data.ViewRole;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.PrototypeMethod;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.L2Normalize;
import dev.gatun.tensor.function.Sinkhorn;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Pass;
import java.util.ArrayList;
import java.util.List;

/**
 * SwAV: swapped prediction. Every global view is assigned to prototypes by a balanced clustering of the batch, and the
 * assignment (the code) is predicted from each other view of the same image. Caron et al., 2020, section 3.
 */
public final class Swav implements PrototypeMethod {
    private final SwavProvider.Settings settings;
    private Encoder encoder;
    private Layer head;
    private Parameter prototypes;
    private List<Integer> assigned;
    private List<SwavQueue> queues;
    private SwappedPrediction swapped;
    private PrototypeUsage usage;

    /** @param settings its settings */
    public Swav(SwavProvider.Settings settings) {
        this.settings = settings;
    }

    @Override
    public void build(MethodBuild build) {
        encoder = build.encoder();
        List<ViewRole> views = build.views();
        assigned = build.globalViews();
        if (assigned.isEmpty() || views.size() < 2) {
            throw new IllegalArgumentException("swav needs two views or more, one of them global; views has " + views);
        }
        swapped = new SwappedPrediction(assigned, views.size(), settings.temperature());
        head = Heads.projection(
                build.parameters().sub("head"), encoder.features(), settings.hidden(), settings.output());
        prototypes = build.parameters()
                .sub("prototypes")
                .parameter("weight", Initializer.fanInUniform(), settings.prototypes(), settings.output());
        usage = new PrototypeUsage(build.parameters(), settings.prototypes());
        int rows = settings.queue() / build.batch() * build.batch();
        queues = assigned.stream()
                .map(v -> new SwavQueue(build.parameters().sub("queue." + v), rows, build.batch(), settings.output()))
                .toList();
        if (settings.queue() > 0 && rows == 0) {
            throw new IllegalArgumentException(
                    "queue: " + settings.queue() + " rows hold no batch of " + build.batch() + "; 0 = no queue");
        }
        if (build.batch() + rows < settings.prototypes()) {
            build.warnings().accept("batch " + build.batch() + " and queue " + rows + " hold fewer samples than the "
                    + settings.prototypes() + " prototypes: some will stay unused");
        }
    }

    @Override
    public void restored() {
        queues.forEach(SwavQueue::restored);
    }

    @Override
    public void beforeStep(Step step) {
        queues.forEach(queue -> queue.beforeStep(step));
        prototypes.value().copyFrom(L2Normalize.apply(step.scope().attach(prototypes.value())));
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        Tensor z = embed(step.pass(), MultiView.encode(encoder, batch, step.pass()));
        Tensor c = step.pass().use(prototypes);
        boolean queueStarted = step.when(index -> index / step.stepsPerEpoch() >= settings.queueStartEpoch());
        List<Tensor> scores = new ArrayList<>();
        List<Tensor> codes = new ArrayList<>();
        for (int i = 0; i < assigned.size(); i++) {
            Tensor rows = swapped.rows(z, assigned.get(i), 1).detach();
            scores.add(rows.matmulTransposed(c.detach()));
            codes.add(codes(queues.get(i), rows, scores.get(i), c.detach(), queueStarted));
        }
        Tensor loss = swapped.loss(z, c, scores, codes);
        log(step, z, codes);
        return loss;
    }

    @Override
    public void afterBackward(Step step) {
        if (step.when(index -> index / step.stepsPerEpoch() < settings.freezeEpochs() || index < settings.freezeSteps())) {
            prototypes.gradient().zero();
        }
    }

    // Sinkhorn over [queue; batch], of which the batch's rows are the codes
    private Tensor codes(SwavQueue queue, Tensor z, Tensor scores, Tensor c, boolean queueStarted) {
        Tensor all = queue.full() ? Tensor.concat(0, queue.rows(z.scope()).matmulTransposed(c), scores) : scores;
        Tensor codes = Sinkhorn.codes(all, z.size(0), settings.epsilon(), settings.iterations());
        if (queueStarted) {
            queue.enqueue(z);
        }
        return codes;
    }

    private void log(Step step, Tensor z, List<Tensor> codes) {
        step.log(Step.SPREAD, Spread.of(z.detach()));
        step.log(Step.PROTOTYPES, settings.prototypes());
        step.log(Step.PROTOTYPES_USED, usage.used(codes, step));
        step.log(Step.UNINFORMED_LOSS, Math.log(settings.prototypes()));
    }

    @Override
    public Tensor prototypes(Scope scope) {
        // an update leaves them longer or shorter until the next step
        return L2Normalize.apply(scope.attach(prototypes.value()));
    }

    @Override
    public Tensor embed(Pass pass, Tensor features) {
        return L2Normalize.apply(head.forward(pass, features));
    }
}
