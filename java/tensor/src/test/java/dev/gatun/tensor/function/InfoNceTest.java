// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.GatunException;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.GradientCheck;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tape;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class InfoNceTest {
    private Device device;
    private Scope scope;

    @BeforeEach
    void open() {
        device = Device.cpu(2);
        scope = device.scope();
    }

    @AfterEach
    void close() {
        device.close();
    }

    private Tensor normal(long seed, int rows, int columns) {
        SplittableRandom random = new SplittableRandom(seed);
        float[] v = new float[rows * columns];
        for (int i = 0; i < v.length; i++) {
            v[i] = (float) random.nextGaussian();
        }
        return scope.of(v, rows, columns);
    }

    /** SimCLR as its paper writes it, composed of tensors: scores of all pairs, each row without itself, its twin picked by a mask. */
    private Tensor composed(Tensor z, int pairs, float temperature) {
        int n = 2 * pairs;
        float[] others = new float[n * n];
        float[] twin = new float[n * n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                others[i * n + j] = i == j ? 0 : 1;
                twin[i * n + j] = j == (i + pairs) % n ? 1 : 0;
            }
        }
        Tensor scores = z.matmulTransposed(z).mul(1 / temperature);
        Tensor lse = scores.exp().mul(scope.of(others, n, n)).sum(1).log();
        return lse.sub(scores.mul(scope.of(twin, n, n)).sum(1));
    }

    @Test
    void simClrIsItsComposedForm() {
        Tensor z = L2Normalize.apply(normal(1, 14, 5));
        Tensor groups = InfoNce.twins(7, scope);
        assertArrayEquals(composed(z, 7, .2f).toArray(), InfoNce.rows(z, groups, .2f).toArray(), 8e-6f);
        assertEquals(composed(z, 7, .2f).mean().item(), InfoNce.apply(z, groups, .2f).item(), 8e-6f);
        Tape tape = Tape.on(scope);
        Tensor fused = tape.watch(z);
        tape.backward(InfoNce.apply(fused, groups, .2f));
        Tensor plain = tape.watch(z);
        tape.backward(composed(plain, 7, .2f).mean());
        assertArrayEquals(tape.gradient(plain).toArray(), tape.gradient(fused).toArray(), 4e-6f);
    }

    @Test
    void gradients() {
        Tensor z = normal(2, 9, 4);
        Tensor groups = scope.ofInts(new int[] {1, 0, 1, -1, 0, 1, 5, -1, 0}, 9);
        GradientCheck.check(in -> InfoNce.apply(in[0], groups, .8f), z);
        GradientCheck.check(in -> InfoNce.rows(in[0], groups, .8f), z);
        GradientCheck.check(in -> InfoNce.apply(L2Normalize.apply(in[0]), groups, .3f), z);
        Tensor keys = normal(3, 6, 4);
        Tensor keyGroups = scope.ofInts(new int[] {0, 5, 1, -1, 3, 0}, 6);
        GradientCheck.check(in -> InfoNce.rows(in[0], in[1], groups, keyGroups, .8f), z, keys);
        GradientCheck.check(in -> InfoNce.apply(in[0], in[1], groups, keyGroups, .8f), z, keys);
        GradientCheck.check(in -> InfoNce.apply(in[0], keys, groups, keyGroups, .8f), z);
    }

    @Test
    void aQueueOfOneKeyPerQueryIsCrossEntropy() {
        Tensor q = L2Normalize.apply(normal(4, 5, 6));
        Tensor k = L2Normalize.apply(normal(5, 8, 6));
        int[] labels = {3, 0, 7, 1, 4};
        Tensor rows = InfoNce.rows(q, k, scope.ofInts(labels, 5), scope.ofInts(new int[] {0, 1, 2, 3, 4, 5, 6, 7}, 8), .1f);
        Tensor expected = CrossEntropy.rows(q.matmulTransposed(k), scope.ofInts(labels, 5), .1f);
        assertArrayEquals(expected.toArray(), rows.toArray(), 1e-5f);
    }

    @Test
    void rowsWithoutPositivesDoNotCount() {
        Tensor z = normal(6, 5, 3);
        Tensor groups = scope.ofInts(new int[] {4, -1, 4, 9, -1}, 5);
        float[] rows = InfoNce.rows(z, groups, 1f).toArray();
        assertEquals(0, rows[1]);
        assertEquals(0, rows[3]);
        assertEquals((rows[0] + rows[2]) / 2, InfoNce.apply(z, groups, 1f).item(), 1e-6f);
        assertTrue(rows[0] > 0);
        Tensor none = scope.ofInts(new int[] {0, 1, 2, 3, 4}, 5);
        Tape tape = Tape.on(scope);
        Tensor watched = tape.watch(z);
        Tensor loss = InfoNce.apply(watched, none, 1f);
        assertEquals(0, loss.item());
        tape.backward(loss);
        assertArrayEquals(new float[15], tape.gradient(watched).toArray());
    }

    @Test
    void viewsOfAnyStridesAreTaken() {
        Tensor wide = normal(7, 6, 10);
        Tensor groups = InfoNce.twins(3, scope);
        assertArrayEquals(new int[] {0, 1, 2, 0, 1, 2}, groups.toIntArray());
        for (Tensor view : new Tensor[] {wide.slice(1, 2, 6), normal(8, 4, 6).transpose()}) {
            assertArrayEquals(
                    InfoNce.rows(view.contiguous(), groups, .5f).toArray(), InfoNce.rows(view, groups, .5f).toArray());
        }
    }

    @Test
    void badInputIsRefused() {
        Tensor z = normal(9, 4, 3);
        Tensor groups = InfoNce.twins(2, scope);
        assertThrows(TensorException.class, () -> InfoNce.apply(z.reshape(2, 2, 3), groups, 1f));
        assertThrows(TensorException.class, () -> InfoNce.apply(groups, groups, 1f));
        refused("temperature is 0", () -> InfoNce.apply(z, groups, 0f));
        refused("query_groups is f32", () -> InfoNce.apply(z, scope.zeros(4), 1f));
        refused("query_groups has shape (6), expected (4)", () -> InfoNce.apply(z, InfoNce.twins(3, scope), 1f));
        refused("k has shape (4, 2), expected (4, 3)", () -> InfoNce.rows(z, normal(1, 4, 2), groups, groups, 1f));
        refused("key_groups has shape (6), expected (4)", () -> InfoNce.rows(z, z, groups, InfoNce.twins(3, scope), 1f));
    }

    private static void refused(String message, org.junit.jupiter.api.function.Executable call) {
        GatunException e = assertThrows(GatunException.class, call);
        assertEquals("info_nce_forward_workspace", e.operation());
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}
