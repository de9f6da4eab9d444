// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.DoubleUnaryOperator;

/**
 * A pre-norm transformer block and its gradients, written down plainly: in double precision, or with every sum and product rounded to single
 * precision, which says how far plain code in single precision is off. Matrices are row-major arrays.
 */
final class BlockReference {
    private final Map<String, double[]> parameters;
    private final int width;
    private final int heads;
    private final double epsilon;
    private final boolean single;
    final Map<String, double[]> gradients = new TreeMap<>();

    BlockReference(Map<String, double[]> parameters, int width, int heads, double epsilon, boolean single) {
        this.single = single;
        this.parameters = parameters;
        this.width = width;
        this.heads = heads;
        this.epsilon = epsilon;
        parameters.forEach((name, value) -> gradients.put(name, new double[value.length]));
    }

    private double r(double value) {
        return single ? (float) value : value;
    }

    /** to[at] += a · b. */
    private void add(double[] to, int at, double a, double b) {
        to[at] = r(to[at] + r(a * b));
    }

    /** Tokens of one sequence on their way through the block, with what is needed on the way back. */
    private final class Sequence {
        final int tokens;
        final List<Runnable> back = new ArrayList<>();

        Sequence(int tokens) {
            this.tokens = tokens;
        }

        /** A gradient that grows while what was computed last is undone. */
        private record Value(double[] of, double[] gradient) {
            Value(double[] of) {
                this(of, new double[of.length]);
            }
        }

        Value linear(Value x, String name) {
            double[] w = parameters.get(name + ".weight");
            double[] b = parameters.get(name + ".bias");
            double[] dw = gradients.get(name + ".weight");
            double[] db = gradients.get(name + ".bias");
            int out = b.length;
            int in = w.length / out;
            Value y = new Value(new double[tokens * out]);
            for (int t = 0; t < tokens; t++) {
                for (int o = 0; o < out; o++) {
                    double sum = b[o];
                    for (int i = 0; i < in; i++) {
                        sum = r(sum + r(x.of[t * in + i] * w[o * in + i]));
                    }
                    y.of[t * out + o] = sum;
                }
            }
            back.add(() -> {
                for (int t = 0; t < tokens; t++) {
                    for (int o = 0; o < out; o++) {
                        double g = y.gradient[t * out + o];
                        add(db, o, g, 1);
                        for (int i = 0; i < in; i++) {
                            add(dw, o * in + i, g, x.of[t * in + i]);
                            add(x.gradient, t * in + i, g, w[o * in + i]);
                        }
                    }
                }
            });
            return y;
        }

        Value norm(Value x, String name) {
            double[] w = parameters.get(name + ".weight");
            double[] b = parameters.get(name + ".bias");
            Value y = new Value(new double[x.of.length]);
            double[] hat = new double[x.of.length];
            double[] scales = new double[tokens];
            for (int t = 0; t < tokens; t++) {
                double mean = 0;
                double variance = 0;
                for (int i = 0; i < width; i++) {
                    mean = r(mean + r(x.of[t * width + i] / width));
                }
                for (int i = 0; i < width; i++) {
                    variance = r(variance + r(r(Math.pow(r(x.of[t * width + i] - mean), 2)) / width));
                }
                scales[t] = r(1 / r(Math.sqrt(variance + epsilon)));
                for (int i = 0; i < width; i++) {
                    hat[t * width + i] = r(r(x.of[t * width + i] - mean) * scales[t]);
                    y.of[t * width + i] = r(r(hat[t * width + i] * w[i]) + b[i]);
                }
            }
            back.add(() -> {
                for (int t = 0; t < tokens; t++) {
                    double first = 0;
                    double second = 0;
                    for (int i = 0; i < width; i++) {
                        int at = t * width + i;
                        add(gradients.get(name + ".weight"), i, y.gradient[at], hat[at]);
                        add(gradients.get(name + ".bias"), i, y.gradient[at], 1);
                        first = r(first + r(r(y.gradient[at] * w[i]) / width));
                        second = r(second + r(r(r(y.gradient[at] * w[i]) * hat[at]) / width));
                    }
                    for (int i = 0; i < width; i++) {
                        int at = t * width + i;
                        add(x.gradient, at, scales[t], r(r(r(y.gradient[at] * w[i]) - first) - r(hat[at] * second)));
                    }
                }
            });
            return y;
        }

        Value attention(Value qkv) {
            int depth = width / heads;
            Value y = new Value(new double[tokens * width]);
            for (int h = 0; h < heads; h++) {
                double[][] p = new double[tokens][tokens];
                int head = h * depth;
                for (int i = 0; i < tokens; i++) {
                    double total = 0;
                    for (int j = 0; j < tokens; j++) {
                        double score = 0;
                        for (int d = 0; d < depth; d++) {
                            score = r(score + r(qkv.of[i * 3 * width + head + d] * qkv.of[j * 3 * width + width + head + d]));
                        }
                        p[i][j] = r(Math.exp(r(score / Math.sqrt(depth))));
                        total = r(total + p[i][j]);
                    }
                    for (int j = 0; j < tokens; j++) {
                        p[i][j] = r(p[i][j] / total);
                        for (int d = 0; d < depth; d++) {
                            add(y.of, i * width + head + d, p[i][j], qkv.of[j * 3 * width + 2 * width + head + d]);
                        }
                    }
                }
                back.add(() -> {
                    for (int i = 0; i < tokens; i++) {
                        double[] dp = new double[tokens];
                        double mean = 0;
                        for (int j = 0; j < tokens; j++) {
                            for (int d = 0; d < depth; d++) {
                                double g = y.gradient[i * width + head + d];
                                add(dp, j, g, qkv.of[j * 3 * width + 2 * width + head + d]);
                                add(qkv.gradient, j * 3 * width + 2 * width + head + d, p[i][j], g);
                            }
                            mean = r(mean + r(p[i][j] * dp[j]));
                        }
                        for (int j = 0; j < tokens; j++) {
                            double ds = r(r(p[i][j] * r(dp[j] - mean)) / Math.sqrt(depth));
                            for (int d = 0; d < depth; d++) {
                                add(qkv.gradient, i * 3 * width + head + d, ds, qkv.of[j * 3 * width + width + head + d]);
                                add(qkv.gradient, j * 3 * width + width + head + d, ds, qkv.of[i * 3 * width + head + d]);
                            }
                        }
                    }
                });
            }
            return y;
        }

        Value gelu(Value x) {
            Value y = new Value(new double[x.of.length]);
            for (int i = 0; i < x.of.length; i++) {
                y.of[i] = r(x.of[i] * r(CDF.applyAsDouble(x.of[i])));
            }
            back.add(() -> {
                for (int i = 0; i < x.of.length; i++) {
                    double density = r(Math.exp(r(-x.of[i] * x.of[i] / 2)) / Math.sqrt(2 * Math.PI));
                    add(x.gradient, i, y.gradient[i], r(r(CDF.applyAsDouble(x.of[i])) + r(x.of[i] * density)));
                }
            });
            return y;
        }

        Value join(Value x, Value branch, double factor, String scale) {
            double[] gamma = parameters.get(scale);
            Value y = new Value(x.of.clone());
            for (int at = 0; at < x.of.length; at++) {
                add(y.of, at, r(factor * (gamma == null ? 1 : gamma[at % width])), branch.of[at]);
            }
            back.add(() -> {
                for (int at = 0; at < x.of.length; at++) {
                    double g = r(factor * y.gradient[at]);
                    if (gamma != null) {
                        add(gradients.get(scale), at % width, g, branch.of[at]);
                    }
                    add(branch.gradient, at, g, gamma == null ? 1 : gamma[at % width]);
                    add(x.gradient, at, y.gradient[at], 1);
                }
            });
            return y;
        }
    }

    /** Φ by the series of its integral, which converges everywhere that is met here. */
    private static final DoubleUnaryOperator CDF = x -> {
        double term = x;
        double sum = x;
        for (int n = 1; n < 200; n++) {
            term *= -x * x / 2 / n;
            sum += term / (2 * n + 1);
        }
        return .5 + sum / Math.sqrt(2 * Math.PI);
    };

    /**
     * One sequence forward and, given the gradient of its result, backward.
     *
     * @param attend factor of the attention branch: 0 where it is dropped
     * @param mlp factor of the MLP branch
     * @param y overwritten with the result
     * @param dx overwritten with the gradient of x
     */
    void run(double[] x, double attend, double mlp, double[] dy, double[] y, double[] dx) {
        Sequence s = new Sequence(x.length / width);
        Sequence.Value in = new Sequence.Value(x);
        Sequence.Value middle = in;
        if (attend != 0) {
            middle = s.join(in, s.linear(s.attention(s.linear(s.norm(in, "norm1"), "attn.qkv")), "attn.proj"), attend, "ls1.gamma");
        }
        Sequence.Value out = middle;
        if (mlp != 0) {
            out = s.join(middle, s.linear(s.gelu(s.linear(s.norm(middle, "norm2"), "mlp.fc1")), "mlp.fc2"), mlp, "ls2.gamma");
        }
        System.arraycopy(out.of, 0, y, 0, y.length);
        System.arraycopy(dy, 0, out.gradient, 0, dy.length);
        s.back.reversed().forEach(Runnable::run);
        System.arraycopy(in.gradient, 0, dx, 0, dx.length);
    }
}
