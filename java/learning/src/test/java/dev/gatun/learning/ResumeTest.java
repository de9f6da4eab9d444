// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.learning.method.CosubProvider;
import dev.gatun.learning.method.SourceMethod;
import dev.gatun.learning.method.SwavProvider;
import dev.gatun.learning.pipeline.BatchSettings;
import dev.gatun.learning.pipeline.CheckpointSettings;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.Section;
import dev.gatun.tensor.Tensor;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.lang.reflect.RecordComponent;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.ServiceLoader;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every method that a pipeline file can name: a run that is killed again and again ends in the same bytes as one that is not. */
class ResumeTest {
    private static final int EPOCHS = 4;

    @TempDir
    Path folder;

    /** A method and settings for it. */
    record Case(String name, MethodProvider provider, Record settings) {
        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Case> methods() throws IOException {
        List<Case> cases = new ArrayList<>();
        for (MethodProvider provider : ServiceLoader.load(MethodProvider.class)) {
            cases.add(new Case(provider.name(), provider, small(provider.settings())));
        }
        try (Stream<Path> files = Files.list(Runs.root().resolve("examples"))) {
            files.filter(file -> file.toString().endsWith(".java")).sorted().forEach(file -> cases.add(
                    new Case(file.getFileName().toString(), SourceMethod.compile(file), new SourceMethod.Settings())));
        }
        // settings under which a method keeps or draws more than by default
        cases.add(new Case("swav with a queue", new SwavProvider(), new SwavProvider.Settings(
                8, List.of(8), 6, .1f, .05f, 3, 1, 0, 24, 1)));
        cases.add(new Case("cosub with softmax", new CosubProvider(), new CosubProvider.Settings("softmax", .5f)));
        assertTrue(cases.size() >= 9, cases.toString());
        return cases.stream();
    }

    // the defaults of a method with all its sizes cut to 8
    private static Record small(Class<? extends Record> type) {
        try {
            Record defaults = type.getConstructor().newInstance();
            RecordComponent[] components = type.getRecordComponents();
            Object[] values = new Object[components.length];
            for (int i = 0; i < values.length; i++) {
                var accessor = components[i].getAccessor();
                accessor.setAccessible(true);
                values[i] = small(accessor.invoke(defaults));
            }
            return type.getDeclaredConstructor(
                    Arrays.stream(components).map(RecordComponent::getType).toArray(Class[]::new)).newInstance(values);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(type + " has no small form", e);
        }
    }

    private static Object small(Object value) {
        if (value instanceof List<?> list) {
            return list.stream().map(ResumeTest::small).toList();
        }
        return value instanceof Integer n ? (Object) Math.min(n, 8) : value;
    }

    /** Where a run of {@code stepsPerEpoch} is killed; each time it has got further than the time before. */
    private static List<Kill> kills(long stepsPerEpoch, int parts) {
        long s = stepsPerEpoch;
        return List.of(
                new Kill("in the first step's loss", "after loss", 1),
                new Kill("after the first step", "step", 1),
                new Kill("at the end of the first epoch, before the checkpoint", "step", s),
                new Kill("when the second epoch has begun", "after beforeEpoch", 1),
                new Kill("between the parts of the second epoch's first update", "after loss", Math.max(1, parts - 1)),
                new Kill("before an optimizer's step inside the epoch", "after afterBackward", s + s / 2),
                new Kill("after an optimizer's step inside the epoch", "before afterUpdate", s + s / 2),
                new Kill("after a step inside the epoch", "step", s + s / 2 + 1),
                new Kill("asked to stop at the epoch's end", "stop", 2 * s),
                new Kill("before the third epoch's order", "before order", 2),
                new Kill("after the third epoch's order", "after order", 2),
                new Kill("when the images are looked at", "images", 0),
                new Kill("asked to stop inside an epoch", "stop", 3 * s - 1),
                new Kill("when the last epoch has begun", "after beforeEpoch", 3));
    }

    /** A moment: a hook of the method, or an event of the trainer, and the step, epoch or call of it, within the resumed run. */
    private record Kill(String moment, String event, long at) {
        void happens(String what, long when) {
            if (event.equals(what) && at == when) {
                throw new Runs.Killed();
            }
        }
    }

    /** A provider whose method ends its process at a moment; whatever hooks methods have are passed on. */
    private static MethodProvider mortal(MethodProvider provider, Kill kill) {
        return (MethodProvider) Proxy.newProxyInstance(
                ResumeTest.class.getClassLoader(), new Class<?>[] {MethodProvider.class}, (self, called, arguments) -> {
                    Object result = invoke(called, provider, arguments);
                    return called.getName().equals("create") ? mortal((Method) result, kill) : result;
                });
    }

    private static Method mortal(Method method, Kill kill) {
        int[] losses = new int[1];
        return (Method) Proxy.newProxyInstance(
                ResumeTest.class.getClassLoader(), new Class<?>[] {Method.class}, (self, called, arguments) -> {
                    long at = arguments == null ? 0 : switch (arguments[0]) {
                        case Epoch epoch -> epoch.index();
                        case Step step -> step.index();
                        case Integer epoch -> epoch;
                        case Batch batch -> ++losses[0];
                        default -> 0;
                    };
                    kill.happens("before " + called.getName(), at);
                    Object result = invoke(called, method, arguments);
                    kill.happens("after " + called.getName(), at);
                    return result;
                });
    }

    private static Object invoke(java.lang.reflect.Method called, Object target, Object[] arguments) throws Throwable {
        try {
            return called.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static boolean trainUntil(Kill kill, Pipeline pipeline, Path part, boolean resume) {
        boolean[] looked = new boolean[1];
        Pipeline mortal = Runs.with(pipeline, mortal(pipeline.method().provider(), kill));
        try (Experiment experiment = Experiment.open(mortal)) {
            Trainer[] trainer = new Trainer[1];
            trainer[0] = new Trainer(experiment, part, new ProgressListener() {
                @Override
                public void phase(String name, long total) {
                    looked[0] = name.equals("embedding the training images");
                }

                @Override
                public void advanced(long done) {
                    if (looked[0] && kill.event().equals("images")) {
                        throw new Runs.Killed();
                    }
                }

                @Override
                public void step(Progress progress) {
                    kill.happens("step", progress.step());
                    if (progress.step() == kill.at() && kill.event().equals("stop")) {
                        trainer[0].requestStop();
                    }
                    // a method that does not look at the images is killed instead where it would have done so
                    if (kill.event().equals("images")) {
                        throw new Runs.Killed();
                    }
                }
            });
            return trainer[0].train(resume);
        }
    }

    /** Trains the whole run, and a part of it until each kill; both end in the same bytes. */
    private void assertResumes(Pipeline pipeline) throws IOException {
        Path whole = folder.resolve("whole");
        assertTrue(Runs.train(pipeline, whole, false, ProgressListener.SILENT));
        byte[] expected = Runs.checkpoint(whole);
        var lines = Runs.metrics(whole);
        Path part = folder.resolve("part");
        int parts = pipeline.batch().accumulate();
        boolean resume = false;
        for (Kill kill : kills(lines.size() / EPOCHS, parts)) {
            boolean begun = resume;
            if (kill.event().equals("stop")) {
                assertFalse(trainUntil(kill, pipeline, part, begun), kill.moment());
            } else {
                assertThrows(Runs.Killed.class, () -> trainUntil(kill, pipeline, part, begun), kill.moment());
            }
            assertFalse(Arrays.equals(expected, Runs.checkpoint(part)));
            resume = true;
        }
        assertTrue(Runs.train(pipeline, part, true, ProgressListener.SILENT));
        assertArrayEquals(expected, Runs.checkpoint(part), "the bytes of the resumed run differ");
        assertEquals(lines, Runs.metrics(part));
    }

    private static Pipeline pipeline(MethodProvider method, Record settings, String form, int accumulate) {
        Pipeline pipeline = Synthetic.pipeline(method, settings, 100, EPOCHS);
        Pipeline dropping = Runs.with(pipeline, new Section<>("blocks", new Blocks(), new Blocks.Settings(8, .3, form)));
        return Runs.with(dropping, new BatchSettings(12, accumulate), new CheckpointSettings(1, 3, ""));
    }

    // 100 samples are 8 batches of 12: with 3 batches an update the last two are left out
    @ParameterizedTest(name = "{0}")
    @MethodSource("methods")
    void killedWithMasks(Case method) throws IOException {
        assertResumes(pipeline(method.provider(), method.settings(), "MASK", 1));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("methods")
    void killedWithSubsetsAndAccumulation(Case method) throws IOException {
        assertResumes(pipeline(method.provider(), method.settings(), "SUBSET", 3));
    }

    /** Multiplies its loss by something that only the object knows. */
    private static final class Forgetful extends Synthetic.Pull {
        @Override
        public Method create(Record settings) {
            Method pull = super.create(settings);
            return new Method() {
                private int epochs;

                @Override
                public void build(MethodBuild build) {
                    pull.build(build);
                }

                @Override
                public void beforeEpoch(Epoch epoch) {
                    epochs++;
                }

                @Override
                public Tensor loss(Batch batch, Step step) {
                    return pull.loss(batch, step).mul(epochs);
                }
            };
        }
    }

    @Test
    void whatIsNotStateIsNoticed() {
        Pipeline pipeline = pipeline(new Forgetful(), new Synthetic.Pull.Settings(), "MASK", 1);
        AssertionError error = assertThrows(AssertionError.class, () -> assertResumes(pipeline));
        assertTrue(error.getMessage().startsWith("the bytes of the resumed run differ"), error.getMessage());
    }
}
