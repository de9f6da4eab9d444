// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.optimizer.AdamW;
import dev.gatun.tensor.optimizer.Sgd;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Stores beside a store: {@link Parameters#apart(String)}. */
class ParametersApartTest {
    private final Device device = Device.cpu(1);
    private final Parameters root = Parameters.create();

    @AfterEach
    void close() {
        device.close();
    }

    private static void declare(Parameters into) {
        into.sub("net").parameter("weight", Initializer.normal(1), 5, 3);
        into.sub("net").parameter("bias", Initializer.uniform(1), 5);
        into.sub("net").state("running", 2f, 4);
    }

    @Test
    void itIsBuiltAndNamedWithItsStoreButOutOfTheOptimizersReach() {
        declare(root);
        Parameters apart = root.apart("target");
        declare(apart);
        assertEquals(List.of("net.weight", "net.bias"), root.all().stream().map(Parameter::name).toList());
        assertEquals(List.of("target.net.weight", "target.net.bias"), apart.all().stream().map(Parameter::name).toList());
        assertEquals(List.of("target.net.running"), apart.states().stream().map(State::name).toList());
        assertEquals(List.of(apart), root.apart());
        assertEquals(20, root.count());
        root.build(device, 7);
        assertTrue(apart.built());
        assertEquals(
                List.of("net.weight", "net.bias", "net.running", "target.net.weight", "target.net.bias", "target.net.running"),
                root.tensors().stream().map(NamedTensor::name).toList());
        assertEquals(3, apart.tensors().size());
        assertEquals(3, root.sub("net").tensors().size(), "a part has nothing apart");
        // decay moves all that an optimizer reaches
        float[] before = apart.values().toArray();
        float[] trained = root.values().toArray();
        new Sgd(root, 0, false, .5f, p -> true).step(.5f);
        new AdamW(root, .5f).step(.5f);
        assertArrayEquals(before, apart.values().toArray());
        assertFalse(java.util.Arrays.equals(trained, root.values().toArray()));
        assertThrows(TensorException.class, () -> new Sgd(root.sub("net"), 0, false, 0));
        new Sgd(apart, 0, false, .5f, p -> true).step(.5f);
        assertFalse(java.util.Arrays.equals(before, apart.values().toArray()), "an optimizer of its own reaches it");
    }

    @Test
    void itStartsEqualToWhatIsDeclaredTheSameInside() {
        declare(root);
        Parameters first = root.apart("a");
        Parameters second = root.apart("b.c");
        declare(first);
        second.parameter("other", Initializer.normal(1), 50);
        declare(second);
        root.build(device, 7);
        for (int i = 0; i < 2; i++) {
            float[] expected = root.all().get(i).value().toArray();
            assertArrayEquals(expected, first.all().get(i).value().toArray());
            assertArrayEquals(expected, second.all().get(i + 1).value().toArray());
        }
        Parameters reseeded = Parameters.create();
        declare(reseeded.apart("a"));
        reseeded.build(device, 8);
        assertFalse(java.util.Arrays.equals(
                first.all().getFirst().value().toArray(), reseeded.apart().getFirst().all().getFirst().value().toArray()));
    }

    @Test
    void theFirstGradientThatIsNotFiniteIsFoundInEveryStore() {
        declare(root);
        Parameters apart = root.apart("a");
        declare(apart);
        root.build(device, 1);
        assertTrue(root.notFinite().isEmpty());
        apart.all().getLast().gradient().fill(Float.NaN);
        assertEquals(apart.all().getLast().name(), root.notFinite().orElseThrow().name());
        root.all().getFirst().gradient().fill(Float.POSITIVE_INFINITY);
        assertEquals(root.all().getFirst().name(), root.notFinite().orElseThrow().name());
    }

    @Test
    void gradientsAreItsOwnAndAreZeroedWithTheStores() {
        declare(root);
        Parameters middle = root.apart("middle");
        declare(middle);
        Parameters inner = middle.apart("inner");
        declare(inner);
        root.build(device, 1);
        for (int round = 0; round < 2; round++) {
            root.zeroGradients();
            try (Scope scope = device.scope().open()) {
                Pass pass = Pass.training(Tape.on(scope), new RandomKey(1, 2, 3));
                // the middle one is never used: it has no gradients, and must not hide what is apart from it
                var sum = pass.use(inner.all().getFirst()).sum().add(pass.use(root.all().getLast()).sum().mul(3f));
                pass.tape().backward(sum);
            }
            for (float g : inner.all().getFirst().gradient().toArray()) {
                assertEquals(1, g, "round " + round);
            }
            for (float g : root.all().getLast().gradient().toArray()) {
                assertEquals(3, g, "round " + round);
            }
            for (float g : root.all().getFirst().gradient().toArray()) {
                assertEquals(0, g, "round " + round);
            }
        }
        assertEquals(15, inner.gradients().toArray().length - 17, "one flat buffer: 15 + 1 of padding + 5 + 11 of padding");
        assertEquals(List.of("middle.inner."), middle.apart().stream().map(Parameters::prefix).toList());
        assertEquals(9, root.tensors().size());
    }

    @Test
    void namesStayUniqueOverAllStores() {
        declare(root);
        Parameters target = root.apart("target");
        declare(target);
        assertThrows(TensorException.class, () -> root.apart("target"));
        assertThrows(TensorException.class, () -> root.apart("net"), "names start with net. already");
        assertThrows(TensorException.class, () -> root.apart("target.net"), "target is the start of this name");
        assertThrows(TensorException.class, () -> root.parameter("target.x", Initializer.zeros(), 1));
        assertThrows(TensorException.class, () -> root.sub("target").state("x", 0f, 1));
        assertThrows(TensorException.class, () -> root.sub("net").apart("x"), "not beside a part");
        root.apart("deep.store").parameter("w", Initializer.zeros(), 1);
        assertThrows(TensorException.class, () -> root.apart("deep"), "this name is the start of deep.store");
        root.build(device, 1);
        assertThrows(TensorException.class, () -> root.apart("late"));
        assertThrows(TensorException.class, () -> target.parameter("late", Initializer.zeros(), 1));
        List<String> names = root.tensors().stream().map(NamedTensor::name).toList();
        assertEquals(names.size(), names.stream().distinct().count());
    }

    @Test
    void aStoreWithNothingButStoresApartIsBuilt() {
        Parameters apart = root.apart("only");
        declare(apart);
        root.build(device, 1);
        root.zeroGradients();
        assertEquals(3, root.tensors().size());
        assertEquals(32, apart.values().elements());
    }

    @Test
    void aPartIsCopiedFromAPartOfTheOtherStore() {
        declare(root);
        Parameters apart = root.apart("target");
        declare(apart);
        root.build(device, 1);
        root.all().forEach(p -> p.value().fill(4f));
        root.states().getFirst().value().fill(5f);
        apart.sub("net").copyFrom(root.sub("net"));
        assertEquals(4, apart.all().getFirst().value().toArray()[14]);
        assertEquals(5, apart.states().getFirst().value().toArray()[3]);
        // a store apart that has no such part is left as it is
        apart.sub("none").copyFrom(root.sub("none"));
    }
}
