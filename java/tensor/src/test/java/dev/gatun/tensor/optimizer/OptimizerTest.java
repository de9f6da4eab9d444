// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Each optimizer against its formula in double precision over several steps of changing gradients. */
class OptimizerTest {
    private static final int STEPS = 5;

    private Device device;
    private Parameters parameters;
    private Parameter weight;
    private Parameter bias;

    @BeforeEach
    void open() {
        device = Device.cpu(2);
        parameters = Parameters.create();
        weight = parameters.parameter("weight", Initializer.normal(1), 6, 7);
        bias = parameters.parameter("bias", Initializer.normal(1), 5);
        parameters.build(device, 3);
    }

    @AfterEach
    void close() {
        device.close();
    }

    private static double[] gradient(int n, int step) {
        double[] g = new double[n];
        for (int i = 0; i < n; i++) {
            g[i] = (float) Math.sin(1.7 * i + step);
        }
        return g;
    }

    private static float[] floats(double[] v) {
        float[] f = new float[v.length];
        for (int i = 0; i < v.length; i++) {
            f[i] = (float) v[i];
        }
        return f;
    }

    private static double[] doubles(float[] v) {
        double[] d = new double[v.length];
        for (int i = 0; i < v.length; i++) {
            d[i] = v[i];
        }
        return d;
    }

    private static double norm(double[] v) {
        return Math.sqrt(Arrays.stream(v).map(x -> x * x).sum());
    }

    /** One tensor's update: values are changed in place; state is the formula's own. */
    private interface Rule {
        void step(double[] p, double[] g, double[][] state, int t, double lr, boolean decays);
    }

    private void compare(Optimizer optimizer, Rule rule) {
        Parameter[] all = {weight, bias};
        double[][] p = {doubles(weight.value().toArray()), doubles(bias.value().toArray())};
        double[][][] state = {new double[2][42], new double[2][5]};
        for (int t = 1; t <= STEPS; t++) {
            double lr = (float) (.1 / t);
            for (int i = 0; i < 2; i++) {
                double[] g = gradient(p[i].length, 10 * i + t);
                all[i].gradient().copyFrom(floats(g));
                rule.step(p[i], g, state[i], t, lr, i == 0);
            }
            optimizer.step((float) lr);
        }
        for (int i = 0; i < 2; i++) {
            float[] got = all[i].value().toArray();
            for (int k = 0; k < got.length; k++) {
                // a handful of roundings a step, each half an ulp of values of order 1
                assertEquals(p[i][k], got[k], 8 * STEPS * Math.ulp(1f), all[i].name() + " " + k);
            }
        }
        // the gaps between tensors stay zero
        float[] flat = parameters.values().toArray();
        assertArrayEquals(new float[6], Arrays.copyOfRange(flat, 42, 48));
        assertArrayEquals(new float[11], Arrays.copyOfRange(flat, 53, 64));
    }

    @Test
    void adamw() {
        compare(new AdamW(parameters, .1f), (p, g, s, t, lr, decays) -> {
            double b1 = .9f;
            double b2 = .999f;
            for (int i = 0; i < p.length; i++) {
                s[0][i] = b1 * s[0][i] + (1 - b1) * g[i];
                s[1][i] = b2 * s[1][i] + (1 - b2) * g[i] * g[i];
                p[i] *= 1 - lr * (decays ? .1f : 0);
                p[i] -= lr * s[0][i] / (1 - Math.pow(b1, t)) / (Math.sqrt(s[1][i] / (1 - Math.pow(b2, t))) + 1e-8);
            }
        });
    }

    private static Rule sgd(boolean nesterov) {
        return (p, g, s, t, lr, decays) -> {
            for (int i = 0; i < p.length; i++) {
                double u = g[i] + (decays ? .05f : 0) * p[i];
                s[0][i] = .9f * s[0][i] + u;
                p[i] -= lr * (nesterov ? u + .9f * s[0][i] : s[0][i]);
            }
        };
    }

    @Test
    void sgdWithMomentum() {
        compare(new Sgd(parameters, .9f, false, .05f), sgd(false));
    }

    @Test
    void sgdWithNesterov() {
        compare(new Sgd(parameters, .9f, true, .05f), sgd(true));
    }

    @Test
    void lars() {
        compare(new Lars(parameters, .9f, .05f, .02f, Parameter::decay), (p, g, s, t, lr, adapts) -> {
            double[] u = new double[p.length];
            for (int i = 0; i < p.length; i++) {
                u[i] = g[i] + (adapts ? .05f : 0) * p[i];
            }
            double factor = adapts ? .02f * norm(p) / norm(u) : 1;
            for (int i = 0; i < p.length; i++) {
                s[0][i] = .9f * s[0][i] + u[i] * factor;
                p[i] -= lr * s[0][i];
            }
        });
    }

    @Test
    void larc() {
        compare(new Larc(parameters, .9f, .05f, .02f), (p, g, s, t, lr, ignored) -> {
            double factor = .02f * norm(p) / (norm(g) + .05f * norm(p) + 1e-8);
            for (int i = 0; i < p.length; i++) {
                s[0][i] = .9f * s[0][i] + (g[i] + .05f * p[i]) * factor;
                p[i] -= lr * s[0][i];
            }
        });
    }

    @Test
    void restoringTheStateRestoresTheOptimizer() {
        for (Function<Parameters, Optimizer> make : List.<Function<Parameters, Optimizer>>of(
                p -> new AdamW(p, .1f), p -> new Sgd(p, .9f, false, 0f), p -> new Larc(p, 1e-3f), p -> new Lars(p, 1e-3f))) {
            Optimizer one = make.apply(parameters);
            parameters.gradients().fill(.3f);
            one.step(.1f);
            one.step(.1f);
            float[] values = parameters.values().toArray();
            Optimizer two = make.apply(parameters);
            List<NamedTensor> from = one.state();
            for (int i = 0; i < from.size(); i++) {
                two.state().get(i).tensor().copyFrom(from.get(i).tensor());
            }
            one.step(.1f);
            float[] expected = parameters.values().toArray();
            parameters.values().copyFrom(values);
            two.step(.1f);
            assertArrayEquals(expected, parameters.values().toArray());
            assertFalse(Arrays.equals(values, expected));
        }
    }

    @Test
    void scalesSkipAndClip() {
        Sgd sgd = new Sgd(parameters, 0f, false, 0f);
        weight.value().fill(1);
        bias.value().fill(1);
        parameters.gradients().zero();
        weight.gradient().fill(2);
        bias.gradient().fill(2);
        sgd.skip(true);
        sgd.step(1f);
        assertEquals(1, weight.value().toArray()[0]);
        sgd.skip(false);
        sgd.gradientScale(.25f);
        sgd.rateScale(bias, 0f);
        sgd.step(1f);
        assertEquals(.5f, weight.value().toArray()[3]);
        assertEquals(1, bias.value().toArray()[3]);
        double norm = Math.sqrt(4.0 * 47);
        assertEquals(norm, sgd.clip(Float.POSITIVE_INFINITY), 1e-5);
        assertEquals(norm, sgd.clip((float) norm / 2), 1e-5);
        sgd.step(1f);
        assertEquals(-.5f, weight.value().toArray()[3], 1e-5);
        weight.gradient().fill(Float.NaN);
        assertEquals(Float.NaN, sgd.clip(1));
        assertThrows(TensorException.class, () -> new Sgd(parameters.sub("x"), 0f, false, 0f));
    }

    @Test
    void emaMovesTowardsTheValues() {
        Parameters target = Parameters.create();
        Parameter w = target.parameter("weight", Initializer.zeros(), 6, 7);
        target.parameter("bias", Initializer.zeros(), 5);
        target.build(device, 1);
        Ema ema = new Ema(target, parameters);
        ema.copy();
        assertArrayEquals(weight.value().toArray(), w.value().toArray());
        w.value().fill(1);
        weight.value().fill(3);
        ema.update(.75f);
        assertEquals(1.5f, w.value().toArray()[41]);
        Parameters other = Parameters.create();
        other.parameter("weight", Initializer.zeros(), 7);
        other.build(device, 1);
        assertThrows(TensorException.class, () -> new Ema(other, parameters));
    }
}
