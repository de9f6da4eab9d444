// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.function.PreNormMlp;
import dev.gatun.tensor.function.Sequences;
import dev.gatun.tensor.function.StochasticDepth;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Fused and composed blocks against a reference in double precision. */
class TransformerBlockTest {
    private static final RandomKey KEY = new RandomKey(1, 2, 3);
    private static final double EPSILON = 1e-6;

    /** Twice what plain code is off, and twice that: attention's backward makes its probabilities once more of rounded log-sum-exps. */
    private static final double RECOMPUTED = 4;

    /** What a block is made of and given. */
    private record Case(int batch, int tokens, int width, int heads, int hidden, double rate, DropPath.Form form, double layerScale, int input) {
        Case(int batch, int tokens, int width, int heads, int hidden, double rate, DropPath.Form form, double layerScale) {
            this(batch, tokens, width, heads, hidden, rate, form, layerScale, 0);
        }

        Case with(int other) {
            return new Case(batch, tokens, width, heads, hidden, rate, form, layerScale, other);
        }

        DropPath drop() {
            return new DropPath(rate, form);
        }

        TransformerBlock.Settings settings(boolean fuse) {
            return new TransformerBlock.Settings(width, heads, hidden, EPSILON, layerScale, fuse);
        }

        long[] shape() {
            return new long[] {batch, tokens, width};
        }
    }

    private static final List<Case> CASES = List.of(
            new Case(7, 5, 24, 3, 40, 0, DropPath.Form.MASK, 0),
            new Case(7, 5, 24, 3, 40, 0, DropPath.Form.MASK, .3),
            new Case(9, 7, 24, 2, 100, .4, DropPath.Form.MASK, 0),
            new Case(9, 7, 24, 2, 100, .4, DropPath.Form.MASK, .3),
            new Case(9, 7, 16, 1, 33, .4, DropPath.Form.SUBSET, 0),
            new Case(9, 7, 16, 1, 33, .4, DropPath.Form.SUBSET, .3),
            // several pieces, the last of another size
            new Case(331, 17, 8, 2, 12, 0, DropPath.Form.MASK, .3),
            new Case(331, 17, 8, 2, 12, .3, DropPath.Form.SUBSET, 0),
            new Case(1, 1, 8, 2, 8, 0, DropPath.Form.MASK, 0));

    /** The result and all gradients by name: {@code x} and {@code y} beside the parameters'. */
    private static Map<String, double[]> run(Device device, Case c, boolean fuse) {
        Parameters parameters = Parameters.create();
        TransformerBlock block = new TransformerBlock(parameters, c.settings(fuse), c.drop());
        parameters.build(device, 5);
        assertEquals(fuse ? TransformerBlock.Form.FUSED : TransformerBlock.Form.COMPOSED, block.form(device, DType.F32));
        // zeros and ones hide mistakes
        for (Parameter p : parameters.all()) {
            p.value().copyFrom(wave((int) p.elements(), .37, p.name().contains("norm") || p.name().contains("ls") ? 1 : 0, .4));
        }
        try (Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Tensor x = tape.watch(scope.of(x(c), c.shape()));
            Tensor y = block.forward(Pass.training(tape, KEY), x.mul(1f));
            Map<String, double[]> found = new TreeMap<>();
            found.put("y", doubles(y.toArray()));
            tape.backward(y, scope.of(dy(c), c.shape()));
            found.put("x", doubles(tape.gradient(x).toArray()));
            parameters.all().forEach(p -> found.put(p.name(), doubles(p.gradient().toArray())));
            return found;
        }
    }

    private static Map<String, double[]> reference(Device device, Case c, boolean single) {
        Parameters parameters = Parameters.create();
        new TransformerBlock(parameters, c.settings(true), c.drop());
        Map<String, double[]> values = new TreeMap<>();
        for (Parameter p : parameters.all()) {
            values.put(p.name(), doubles(wave((int) p.elements(), .37, p.name().contains("norm") || p.name().contains("ls") ? 1 : 0, .4)));
        }
        BlockReference reference = new BlockReference(values, c.width, c.heads, EPSILON, single);
        double[][] factors = {factors(device, c, 0), factors(device, c, 1)};
        int row = c.tokens * c.width;
        double[] x = doubles(x(c));
        double[] dy = doubles(dy(c));
        double[] y = new double[x.length];
        double[] dx = new double[x.length];
        for (int b = 0; b < c.batch; b++) {
            double[] oneY = new double[row];
            double[] oneDx = new double[row];
            reference.run(Arrays.copyOfRange(x, b * row, (b + 1) * row), factors[0][b], factors[1][b],
                    Arrays.copyOfRange(dy, b * row, (b + 1) * row), oneY, oneDx);
            System.arraycopy(oneY, 0, y, b * row, row);
            System.arraycopy(oneDx, 0, dx, b * row, row);
        }
        Map<String, double[]> found = new TreeMap<>(reference.gradients);
        found.put("y", y);
        found.put("x", dx);
        return found;
    }

    /** By what each sequence's branch is multiplied, for the block's first or second draw. */
    private static double[] factors(Device device, Case c, int draw) {
        double[] factors = new double[c.batch];
        if (c.rate == 0) {
            Arrays.fill(factors, 1);
            return factors;
        }
        try (Scope scope = device.scope().open()) {
            long[] ids = new long[c.batch];
            Arrays.setAll(ids, i -> i);
            Tensor id = scope.ofLongs(ids);
            if (c.form == DropPath.Form.MASK) {
                return doubles(StochasticDepth.mask(scope, KEY.child(draw), id, c.rate).toArray());
            }
            int[] kept = StochasticDepth.subset(scope, KEY.child(draw), id, c.rate).toIntArray();
            for (int i : kept) {
                factors[i] = (double) c.batch / kept.length;
            }
            return factors;
        }
    }

    private static float[] x(Case c) {
        return wave(c.batch * c.tokens * c.width, 1.3 + .1 * c.input, .1, 1);
    }

    private static float[] dy(Case c) {
        return wave(c.batch * c.tokens * c.width, .9 + .07 * c.input, 0, 1);
    }

    private static float[] wave(int n, double frequency, double middle, double height) {
        float[] v = new float[n];
        for (int i = 0; i < n; i++) {
            v[i] = (float) (middle + height * Math.sin(frequency * (i + 1) + i % 7));
        }
        return v;
    }

    private static double[] doubles(float[] v) {
        double[] d = new double[v.length];
        Arrays.setAll(d, i -> v[i]);
        return d;
    }

    private static double error(double[] found, double[] exact) {
        double sum = 0;
        for (int i = 0; i < found.length; i++) {
            sum += (found[i] - exact[i]) * (found[i] - exact[i]);
        }
        return Math.sqrt(sum / found.length);
    }

    /** The error of one tensor over several inputs: of one alone it is a matter of luck. */
    private static double error(List<Map<String, double[]>> found, List<Map<String, double[]>> exact, String name) {
        double sum = 0;
        for (int i = 0; i < exact.size(); i++) {
            sum += Math.pow(error(found.get(i).get(name), exact.get(i).get(name)), 2);
        }
        return Math.sqrt(sum / exact.size());
    }

    @Test
    void bothFormsAreAsCloseToTheReferenceAsPlainCode() {
        try (Device device = Device.cpu(2)) {
            for (Case first : CASES) {
                List<Map<String, double[]>> exact = new ArrayList<>();
                List<Map<String, double[]>> plain = new ArrayList<>();
                Map<TransformerBlock.Form, List<Map<String, double[]>>> forms = Map.of(
                        TransformerBlock.Form.COMPOSED, new ArrayList<>(), TransformerBlock.Form.FUSED, new ArrayList<>());
                for (int input = 0; input < (first.batch > 100 ? 2 : 6); input++) {
                    Case c = first.with(input);
                    exact.add(reference(device, c, false));
                    plain.add(reference(device, c, true));
                    forms.forEach((form, found) -> found.add(run(device, c, form == TransformerBlock.Form.FUSED)));
                }
                // tensors share what went before them: how far one alone is off is a matter of luck
                double relative = exact.getFirst().keySet().stream().mapToDouble(name -> error(plain, exact, name) / size(exact, name)).max().orElseThrow();
                assertTrue(relative < 1e-4, first + ": plain code is off by " + relative);
                forms.forEach((form, found) -> {
                    assertEquals(exact.getFirst().keySet(), found.getFirst().keySet());
                    for (String name : exact.getFirst().keySet()) {
                        requireClose(first + " " + form + " " + name, name, found, exact, RECOMPUTED * relative * size(exact, name));
                    }
                });
            }
        }
    }

    private static double size(List<Map<String, double[]>> of, String name) {
        return Math.sqrt(of.stream().flatMapToDouble(one -> Arrays.stream(one.get(name))).map(v -> v * v).average().orElseThrow());
    }

    private static void requireClose(String what, String name, List<Map<String, double[]>> found, List<Map<String, double[]>> exact, double bound) {
        double off = error(found, exact, name);
        assertTrue(off <= bound, what + ": " + off + " instead of " + bound);
        found.forEach(of -> Arrays.setAll(of.get(name), i -> of.get(name)[i] + (i % 2 == 0 ? 4 : -4) * bound));
        assertTrue(error(found, exact, name) > bound, what);
    }

    @Test
    void theBitsDoNotDependOnTheThreads() {
        try (Device one = Device.cpu(1); Device two = Device.cpu(2)) {
            for (Case c : CASES) {
                Map<String, double[]> a = run(one, c, true);
                run(two, c, true).forEach((name, value) -> assertArrayEquals(a.get(name), value, c + " " + name));
            }
        }
    }

    @Test
    void bothFormsHaveTheSameParameters() {
        Case c = CASES.get(1);
        Parameters[] stores = {Parameters.create(), Parameters.create()};
        for (int i = 0; i < 2; i++) {
            new TransformerBlock(stores[i].sub("blocks.0"), c.settings(i == 0), c.drop());
        }
        List<String> names = stores[0].all().stream().map(Parameter::toString).toList();
        assertEquals(names, stores[1].all().stream().map(Parameter::toString).toList());
        assertEquals(List.of("blocks.0.norm1.weight[24]", "blocks.0.norm1.bias[24]", "blocks.0.attn.qkv.weight[72, 24]",
                "blocks.0.attn.qkv.bias[72]", "blocks.0.attn.proj.weight[24, 24]", "blocks.0.attn.proj.bias[24]", "blocks.0.ls1.gamma[24]",
                "blocks.0.norm2.weight[24]", "blocks.0.norm2.bias[24]", "blocks.0.mlp.fc1.weight[40, 24]", "blocks.0.mlp.fc1.bias[40]",
                "blocks.0.mlp.fc2.weight[24, 40]", "blocks.0.mlp.fc2.bias[24]", "blocks.0.ls2.gamma[24]"), names);
    }

    @Test
    void aSecondDerivativeIsRefusedWithTheComposedForm() {
        Case c = CASES.getFirst();
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            Parameters parameters = Parameters.create();
            TransformerBlock block = new TransformerBlock(parameters, c.settings(true), c.drop());
            parameters.build(device, 5);
            Tape tape = Tape.on(scope);
            Tensor x = tape.watch(scope.of(x(c), c.shape()));
            Tensor loss = block.forward(Pass.evaluation(tape), x.mul(1f)).sum();
            String message = assertThrows(TensorException.class, () -> tape.gradients(loss, List.of(x), true)).getMessage();
            assertTrue(message.contains("pre-norm mlp") && message.contains("composed"), message);
            // without a graph of its own the gradient is there
            assertEquals(x.elements(), tape.gradients(loss, List.of(x), false).getFirst().elements());
        }
    }

    /** Parameters that are not trained get no gradient, and the others the same as before. */
    @Test
    void frozenParametersAreLeftOut() {
        Case c = CASES.get(3);
        try (Device device = Device.cpu(1)) {
            Map<String, double[]> all = run(device, c, true);
            Parameters parameters = Parameters.create();
            TransformerBlock block = new TransformerBlock(parameters, c.settings(true), c.drop());
            parameters.build(device, 5);
            for (Parameter p : parameters.all()) {
                p.value().copyFrom(wave((int) p.elements(), .37, p.name().contains("norm") || p.name().contains("ls") ? 1 : 0, .4));
            }
            try (Scope scope = device.scope().open()) {
                Tape tape = Tape.on(scope);
                Tensor x = tape.watch(scope.of(x(c), c.shape()));
                Tensor y = block.forward(Pass.trainingWithoutGradient(scope, KEY), x.mul(1f));
                tape.backward(y, scope.of(dy(c), c.shape()));
                assertArrayEquals(all.get("x"), doubles(tape.gradient(x).toArray()));
            }
        }
    }

    /** One input after the other is the only one that is trained: its gradient has the bits that it has beside the others'. */
    @Test
    void whatIsWantedAloneIsWhatItIsBesideTheOthers() {
        int width = 16;
        long[][] shapes = {{5, 40, width}, {width}, {width}, {2 * width, width}, {2 * width}, {width, 2 * width}, {width}, {width}};
        try (Device device = Device.cpu(2)) {
            for (int inputs : new int[] {shapes.length, shapes.length - 1}) {
                boolean[] wanted = new boolean[inputs];
                Arrays.fill(wanted, true);
                List<float[]> all = mlpGradients(device, Arrays.copyOf(shapes, inputs), wanted);
                for (int only = 0; only < inputs; only++) {
                    Arrays.fill(wanted, false);
                    wanted[only] = true;
                    assertArrayEquals(all.get(only), mlpGradients(device, Arrays.copyOf(shapes, inputs), wanted).getFirst(), "input " + only);
                }
            }
        }
    }

    /** Of the inputs that are wanted. */
    private static List<float[]> mlpGradients(Device device, long[][] shapes, boolean[] wanted) {
        try (Scope scope = device.scope().open()) {
            Tape tape = Tape.on(scope);
            Tensor[] in = new Tensor[shapes.length];
            for (int i = 0; i < in.length; i++) {
                Tensor values = scope.of(wave((int) Arrays.stream(shapes[i]).reduce(1, (a, b) -> a * b), .31 + .01 * i, .2, .5), shapes[i]);
                in[i] = wanted[i] ? tape.watch(values) : values;
            }
            Tensor y = PreNormMlp.apply(Sequences.all(shapes[0][0], shapes[0][1]), EPSILON, false, in[0], Arrays.copyOfRange(in, 1, in.length));
            tape.backward(y.square().sum());
            return Arrays.stream(in).filter(Tensor::tracked).map(t -> tape.gradient(t).toArray()).toList();
        }
    }

    @Test
    void aSequenceIsKeptOnce() {
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            assertEquals(2, new Sequences.Group(3, 5, scope.ofInts(new int[] {2, 0}), 2, 1.5f).kept().elements());
            for (int[] wrong : new int[][] {{1, 1}, {0, 3}, {-1, 2}}) {
                Tensor kept = scope.ofInts(wrong);
                assertThrows(TensorException.class, () -> new Sequences.Group(3, 5, kept, 2, 1.5f));
            }
        }
    }

    /** A gradient that arrives while others still use it is not worked on in place. */
    @Test
    void aSharedGradientStaysAsItIs() {
        Case c = CASES.get(2);
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            Parameters parameters = Parameters.create();
            TransformerBlock block = new TransformerBlock(parameters, c.settings(true), c.drop());
            parameters.build(device, 5);
            Tape tape = Tape.on(scope);
            Tensor a = tape.watch(scope.of(x(c), c.shape()));
            Tensor b = tape.watch(scope.zeros(c.shape()));
            Tensor y = block.forward(Pass.training(tape, KEY), a.mul(1f));
            tape.backward(y.add(b), scope.of(dy(c), c.shape()));
            assertArrayEquals(dy(c), tape.gradient(b).toArray());
        }
    }

    /** A block, with parameters that hide nothing, of one thread. */
    private static TransformerBlock block(Device device, Case c) {
        Parameters parameters = Parameters.create();
        TransformerBlock block = new TransformerBlock(parameters, c.settings(true), c.drop());
        parameters.build(device, 5);
        for (Parameter p : parameters.all()) {
            p.value().copyFrom(wave((int) p.elements(), .37, p.name().contains("norm") || p.name().contains("ls") ? 1 : 0, .4));
        }
        return block;
    }

    /** What an operation before the block saved, or an older scope holds, must not change under them: then the block takes memory of its own. */
    @Test
    void anInputThatSomebodyElseNeedsIsNotOverwritten() {
        Case c = CASES.get(5);
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            TransformerBlock block = block(device, c);
            float[][] results = new float[2][];
            float[][] gradients = new float[2][];
            for (int i = 0; i < 2; i++) {
                Tape tape = Tape.on(scope);
                Tensor x = tape.watch(scope.of(x(c), c.shape()));
                Tensor exp = x.exp();
                Tensor y = block.forward(Pass.training(tape, KEY), i == 0 ? exp : exp.mul(1f));
                tape.backward(y, scope.of(dy(c), c.shape()));
                results[i] = y.toArray();
                gradients[i] = tape.gradient(x).toArray();
            }
            assertArrayEquals(results[1], results[0]);
            assertArrayEquals(gradients[1], gradients[0]);
            Tensor older = device.scope().of(x(c), c.shape());
            Tape tape = Tape.on(scope);
            block.forward(Pass.training(tape, KEY), tape.watch(older));
            assertArrayEquals(x(c), older.toArray());
        }
    }

    @Test
    void aViewWhoseTokensAreNotOneAfterTheOtherGivesTheSame() {
        for (Case c : List.of(CASES.get(1), CASES.get(5))) {
            try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
                TransformerBlock block = block(device, c);
                Tensor x = scope.of(x(c), c.shape());
                Tensor turned = x.transpose(0, 1).copy(scope).transpose(0, 1);
                float[] y = block.forward(Pass.trainingWithoutGradient(scope, KEY), turned).toArray();
                assertArrayEquals(block.forward(Pass.trainingWithoutGradient(scope, KEY), x).toArray(), y);
            }
        }
    }

    /** Without a gradient nothing stays but the result. */
    @Test
    void inferenceKeepsNothing() {
        Case c = CASES.get(1);
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            TransformerBlock block = block(device, c);
            long before = device.liveBytes();
            Tensor x = scope.of(x(c), c.shape());
            long input = device.liveBytes() - before;
            block.forward(Pass.inference(scope), x);
            assertEquals(input, device.liveBytes() - before);
        }
    }

    @Test
    void whereAllSequencesAreKeptThereIsNoFactorAndMemoryForAll() {
        assertEquals(15, new Sequences(List.of(new Sequences.Group(3, 5, null, 3, 1f))).tokens());
        assertThrows(TensorException.class, () -> new Sequences.Group(3, 5, null, 2, 1f));
        assertThrows(TensorException.class, () -> new Sequences.Group(3, 5, null, 3, 2f));
    }

    @Test
    void nothingAndNothingKept() {
        try (Device device = Device.cpu(2)) {
            Map<String, double[]> none = run(device, new Case(0, 5, 24, 3, 40, 0, DropPath.Form.MASK, .3), true);
            none.forEach((name, value) -> assertArrayEquals(new double[value.length], value, name));
            // with this key neither of two samples is kept, by neither branch
            Case dropped = new Case(2, 5, 24, 3, 40, .999, DropPath.Form.MASK, .3);
            run(device, dropped, true).forEach((name, value) -> {
                double[] expected = name.equals("y") ? doubles(x(dropped)) : name.equals("x") ? doubles(dy(dropped)) : new double[value.length];
                assertArrayEquals(expected, value, name);
            });
        }
    }

    @Test
    void aNaNStaysInItsSequence() {
        Case c = CASES.get(1);
        try (Device device = Device.cpu(2); Scope scope = device.scope().open()) {
            Parameters parameters = Parameters.create();
            TransformerBlock block = new TransformerBlock(parameters, c.settings(true), c.drop());
            parameters.build(device, 5);
            float[] x = x(c);
            int row = c.tokens * c.width;
            x[2 * row + 3] = Float.NaN;
            float[] y = block.forward(Pass.inference(scope), scope.of(x, c.shape())).toArray();
            for (int i = 0; i < y.length; i++) {
                assertEquals(i / row == 2, Float.isNaN(y[i]), "element " + i);
            }
        }
    }
}
