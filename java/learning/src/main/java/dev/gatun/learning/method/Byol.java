// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.data.Batch;
import dev.gatun.learning.Method;
import dev.gatun.learning.MethodBuild;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.L2Normalize;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Identity;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Sequential;
import dev.gatun.tensor.optimizer.Ema;
import dev.gatun.tensor.optimizer.Schedule;

/**
 * BYOL: an online network predicts, from one view, what a target network makes of the other; the target follows the online
 * network as a moving average, and no gradient reaches it. Grill et al., 2020, section 3. As in the authors' code the target uses
 * the statistics of its batch; unlike there it starts equal to the online network.
 */
public final class Byol implements Method {
    private final ByolProvider.Settings settings;
    private Layer online;
    private Layer predictor;
    private Layer target;
    private Ema ema;
    private Schedule tau;

    /** @param settings its settings */
    public Byol(ByolProvider.Settings settings) {
        this.settings = settings;
    }

    @Override
    public void build(MethodBuild build) {
        if (build.views().size() != 2) {
            throw new IllegalArgumentException("byol needs two views; views has " + build.views());
        }
        Parameters parameters = build.parameters();
        online = projected(build.encoder(), parameters);
        predictor = settings.predictor()
                ? Heads.projection(parameters.sub("predictor"), settings.output(), settings.hidden(), settings.output(), false)
                : new Identity();
        Parameters average = parameters.apart("target");
        target = projected(build.encoders().apply(average), average);
        ema = new Ema(average, parameters);
        tau = tau(settings.tau(), build.steps());
    }

    private Layer projected(Encoder encoder, Parameters parameters) {
        return new Sequential(encoder, Heads.projection(
                parameters.sub("projector"), encoder.features(), settings.hidden(), settings.output(), false));
    }

    /** τ = 1 − (1 − τ₀) (1 + cos(π t / T)) / 2. */
    static Schedule tau(double first, long steps) {
        return Schedule.cosine((float) first, 1f, steps, 0, 1f);
    }

    @Override
    public Tensor loss(Batch batch, Step step) {
        Tensor x1 = batch.views().get(0).images();
        Tensor x2 = batch.views().get(1).images();
        Tensor z1 = online.forward(step.pass(), x1);
        Tensor z2 = online.forward(step.pass(), x2);
        step.log(Step.SPREAD, Spread.of(L2Normalize.apply(z1.detach())));
        Tensor t1 = target.forward(step.pass().withoutGradient(), x1);
        Tensor t2 = target.forward(step.pass().withoutGradient(), x2);
        return distance(predictor.forward(step.pass(), z1), t2).add(distance(predictor.forward(step.pass(), z2), t1));
    }

    /** The mean over rows of the squared distance between unit vectors: 2 − 2 cos, in [0, 4]. */
    static Tensor distance(Tensor prediction, Tensor target) {
        return L2Normalize.apply(prediction).sub(L2Normalize.apply(target)).square().sum(1).mean();
    }

    @Override
    public void afterUpdate(Step step) {
        ema.update(step.scalar(tau));
    }
}
