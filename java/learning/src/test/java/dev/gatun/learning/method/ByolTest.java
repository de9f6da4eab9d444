// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import static dev.gatun.learning.method.MethodRun.STEPS;
import static dev.gatun.learning.method.MethodRun.global;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.learning.Blocks;
import dev.gatun.learning.Step;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.optimizer.Schedule;
import dev.gatun.tensor.optimizer.Sgd;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ByolTest {
    private static final float TAU = .9f;

    private final Device device = Device.cpu(1);

    @AfterEach
    void close() {
        device.close();
    }

    private MethodRun<Byol> run(boolean predictor) {
        Function<Parameters, Encoder> encoders =
                into -> new Blocks().create(new Blocks.Settings(), into, new long[] {4, 4, 1});
        var settings = new ByolProvider.Settings(List.of(16), 8, TAU, predictor);
        return new MethodRun<>(device, new Byol(settings), encoders, MethodRun.B, 0, global(4), global(4));
    }

    private static Parameters target(MethodRun<?> run) {
        return run.parameters.apart().getFirst();
    }

    // what the target follows, by the target's names
    private static Map<String, float[]> online(MethodRun<?> run) {
        Map<String, float[]> tensors = run.tensors();
        tensors.keySet().removeIf(name -> name.startsWith("target.") || name.startsWith("predictor."));
        return tensors;
    }

    @Test
    void theTargetStartsEqualToTheOnlineNetwork() {
        MethodRun<Byol> run = run(true);
        Map<String, float[]> all = run.tensors();
        Map<String, float[]> online = online(run);
        assertTrue(online.containsKey("backbone.0.weight") && online.containsKey("projector.0.weight"), online.keySet().toString());
        online.forEach((name, values) -> assertArrayEquals(values, all.get("target." + name), name));
        assertEquals(online.size(), target(run).tensors().size(), "and has nothing else: no predictor");
        assertTrue(all.keySet().stream().anyMatch(name -> name.startsWith("predictor.")));
    }

    @Test
    void theTargetMovesByItsAverageOnlyAndFollowsTheNewWeights() {
        MethodRun<Byol> run = run(true);
        // decay and momentum move all that the optimizer reaches
        Sgd optimizer = new Sgd(run.parameters, .9f, false, .1f, p -> true);
        Schedule tau = Byol.tau(TAU, STEPS);
        for (int s = 0; s < 3; s++) {
            float[] before = target(run).values().toArray();
            float[] old = run.parameters.values().toArray();
            try (Scope scope = device.scope().open()) {
                Step step = run.step(scope, s);
                run.parameters.zeroGradients();
                step.tape().backward(run.method.loss(run.batch(scope, s), step));
                optimizer.step(.5f);
                assertArrayEquals(before, target(run).values().toArray(), "neither loss nor optimizer touches it");
                for (float g : target(run).gradients().toArray()) {
                    assertEquals(0, g, "no gradient reaches it");
                }
                assertFalse(Arrays.equals(old, run.parameters.values().toArray()));
                run.method.afterUpdate(step);
            }
            double fromOld = 0;
            for (Parameter average : target(run).all()) {
                String name = average.name().substring("target.".length());
                Parameter online = run.parameters.all().stream().filter(p -> p.name().equals(name)).findFirst().orElseThrow();
                float[] values = online.value().toArray();
                float[] moved = average.value().toArray();
                for (int i = 0; i < moved.length; i++) {
                    int a = (int) average.offset() + i;
                    double keep = tau.at(s);
                    double expected = keep * before[a] + (1 - keep) * values[i];
                    assertEquals(expected, moved[i], 2 * Math.ulp((float) Math.max(Math.abs(before[a]), Math.abs(values[i]))), name);
                    double wrong = keep * before[a] + (1 - keep) * old[(int) online.offset() + i];
                    fromOld = Math.max(fromOld, Math.abs(wrong - moved[i]));
                }
            }
            assertTrue(fromOld > 1e-4, "the average of the old weights is another: " + fromOld);
        }
    }

    @Test
    void tauRisesFromItsStartToOne() {
        Schedule tau = Byol.tau(.996, 1000);
        assertEquals(.996f, tau.at(0));
        assertEquals(1f, tau.at(1000));
        for (int k = 0; k <= 1000; k += 50) {
            assertEquals(1 - (1 - .996) * (1 + Math.cos(Math.PI * k / 1000)) / 2, tau.at(k), Math.ulp(1f));
        }
    }

    @Test
    void theLossIsTwoDistancesBetweenUnitVectors() {
        try (Scope scope = device.scope().open()) {
            Tensor x = scope.of(new float[] {3, 0, 0, 2}, 2, 2);
            assertEquals(0, Byol.distance(x, x.mul(5f)).item(), 1e-6, "the length does not count");
            assertEquals(4, Byol.distance(x, x.mul(-5f)).item(), 1e-5, "opposite");
            assertEquals(2, Byol.distance(x, scope.of(new float[] {0, 1, -1, 0}, 2, 2)).item(), 1e-6, "orthogonal");
            assertEquals(1, Byol.distance(x, scope.of(new float[] {1, 0, 1, 0}, 2, 2)).item(), 1e-6, "a mean over rows");
        }
        MethodRun<Byol> run = run(true);
        SplittableRandom random = new SplittableRandom(1);
        for (int s = 0; s < 20; s++) {
            float[] weights = run.parameters.values().toArray();
            for (int i = 0; i < weights.length; i++) {
                weights[i] = (float) (3 * random.nextGaussian());
            }
            run.parameters.values().copyFrom(weights);
            run.parameters.written();
            float loss = run.loss(s, s);
            assertTrue(loss >= 0 && loss <= 8, "" + loss);
        }
    }

    private static Batch swapped(MethodRun<?> run, Scope scope) {
        Batch batch = run.batch(scope, 7);
        return new Batch(batch.ids(), batch.views().reversed(), batch.labels());
    }

    @Test
    void theLossIsSymmetricInTheViews() {
        MethodRun<Byol> run = run(true);
        float[] target = target(run).values().toArray();
        for (int i = 0; i < target.length; i++) {
            target[i] *= i % 2 == 0 ? -1.3f : .8f;
        }
        target(run).values().copyFrom(target);
        target(run).written();
        float loss = run.loss(0, 7);
        float swapped = run.loss(0, scope -> swapped(run, scope));
        assertEquals(loss, swapped);
        // both directions count: views that are equal give another loss
        float same = run.loss(0, scope -> {
            Batch batch = run.batch(scope, 7);
            return new Batch(batch.ids(), List.of(batch.views().get(0), batch.views().get(0)), batch.labels());
        });
        assertFalse(loss == same);
    }

    @Test
    void theTargetUsesTheStatisticsOfItsBatchAndKeepsItsOwnRunningOnes() {
        MethodRun<Byol> run = run(true);
        float[] before = run.tensors().get("target.backbone.norm.running_mean");
        run.loss(0, 1);
        float[] after = run.tensors().get("target.backbone.norm.running_mean");
        assertFalse(Arrays.equals(before, after), "training behaviour");
        // equal weights and batches, so equal statistics
        assertArrayEquals(run.tensors().get("backbone.norm.running_mean"), after);
    }

    // images of six kinds, views with more noise than image: nothing makes the views of an image equal but giving up
    private static Batch kinds(MethodRun<?> run, Scope scope, long seed) {
        Batch noise = run.batch(scope, seed);
        SplittableRandom random = new SplittableRandom(1000 + seed);
        float[] kinds = new float[MethodRun.B * 16];
        for (int b = 0; b < MethodRun.B; b++) {
            int kind = random.nextInt(6);
            for (int p = 0; p < 16; p++) {
                kinds[b * 16 + p] = p % 6 == kind ? 2 : -1;
            }
        }
        Tensor clean = scope.of(kinds, MethodRun.B, 4, 4, 1);
        return new Batch(noise.ids(), noise.views().stream()
                .map(v -> new dev.gatun.data.View(v.role(), v.size(), clean.add(v.images().mul(2f))))
                .toList(), noise.labels());
    }

    private double spread(boolean predictor) {
        MethodRun<Byol> run = run(predictor);
        Sgd optimizer = new Sgd(run.parameters, .9f, false, 1e-2f);
        for (int s = 0; s < 150; s++) {
            long seed = s;
            run.update(s % STEPS, scope -> kinds(run, scope, seed), optimizer, .1f);
        }
        return run.metrics.get(Step.SPREAD);
    }

    @Test
    void withoutThePredictorItCollapses() {
        double with = spread(true);
        double without = spread(false);
        assertTrue(with > .5, "with: " + with);
        assertTrue(without < .05, "without: " + without);
    }

    @Test
    void itNeedsTwoViews() {
        var settings = new ByolProvider.Settings(List.of(4), 4, TAU, true);
        var refused = assertThrows(IllegalArgumentException.class, () -> new MethodRun<>(device, new Byol(settings), global(4)));
        assertTrue(refused.getMessage().startsWith("byol needs two views"), refused.getMessage());
    }
}
