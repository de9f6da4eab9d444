// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

import dev.gatun.data.Datasets;
import dev.gatun.data.Loader;
import dev.gatun.data.Views;
import dev.gatun.learning.checkpoint.Checkpoint;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.MixedPrecision;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.optimizer.Schedule;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/**
 * Everything a pipeline file describes, made: device, data, views, network, method, optimizer. The network's parameters are
 * named {@code backbone.*}; the method's stand beside them.
 */
public final class Experiment implements AutoCloseable {
    /** Where the encoder's parameters are, in {@link #parameters} and in files. */
    public static final String BACKBONE = "backbone";

    private final Pipeline pipeline;
    private final Device device;
    private final Device host;
    private final Datasets data;
    private final Views views;
    private final Parameters parameters;
    private final Encoder encoder;
    private final Method method;
    private final Optimizers optimizers;
    private final Schedule schedule;
    private final long stepsPerEpoch;
    private final long steps;
    private final List<String> warnings = new ArrayList<>();

    private Experiment(Pipeline pipeline, Device device, boolean trains, OptionalInt samples) {
        this.pipeline = pipeline;
        this.device = device;
        this.host = device.sharesHostMemory() ? device : Device.cpu(pipeline.device().threads());
        data = make("data", () -> pipeline.data().provider().create(pipeline.data().settings(), pipeline.seed()));
        views = make("views", () -> pipeline.views().provider().create(pipeline.views().settings(), data.pretrain()));
        parameters = Parameters.create();
        encoder = encoder(parameters);
        method = pipeline.method().provider().create(pipeline.method().settings());
        if (method.usesLabels() && !data.pretrain().labelled()) {
            throw new LearningException("method " + pipeline.method().name() + " learns from labels, and data "
                    + pipeline.data().name() + " has none");
        }
        int batch = pipeline.batch().batch();
        int updates = data.pretrain().size() / batch / pipeline.batch().accumulate();
        stepsPerEpoch = Math.max(updates, 1);
        steps = pipeline.schedule().steps(stepsPerEpoch);
        if (trains && updates == 0) {
            throw new LearningException("data.batch: an epoch of " + data.pretrain().size() + " samples has no update of "
                    + pipeline.batch().accumulate() + " x " + batch);
        }
        List<StoreOptimizer> own = new ArrayList<>();
        make("method", () -> {
            method.build(new MethodBuild(
                    encoder, this::encoder, parameters, views.roles(), samples.orElse(data.pretrain().size()), batch,
                    data.pretrain().classes(), stepsPerEpoch, steps, own::add, warnings::add));
            return method;
        });
        parameters.build(device, pipeline.seed());
        if (trains) {
            parameters.computeIn(pipeline.computesIn());
        }
        if (!pipeline.checkpoint().backbone().isEmpty()) {
            Checkpoint.loadBackbone(Path.of(pipeline.checkpoint().backbone()), parameters.sub(BACKBONE));
            parameters.apart().forEach(apart -> apart.sub(BACKBONE).copyFrom(parameters.sub(BACKBONE)));
        }
        optimizers = new Optimizers(
                make("optimizer", () -> pipeline.optimizer().provider().create(pipeline.optimizer().settings(), parameters)), own,
                device.scope());
        schedule = pipeline.schedule()
                .schedule(pipeline.optimizer().provider().lr(pipeline.optimizer().settings()), stepsPerEpoch);
    }

    /**
     * Makes everything.
     *
     * @param pipeline what to make
     * @throws LearningException if a section does not work with the others; one line
     * @throws dev.gatun.data.DataException if the data are missing or unusable; one line
     */
    public static Experiment open(Pipeline pipeline) {
        return open(pipeline, true, OptionalInt.empty());
    }

    /**
     * As {@link #open(Pipeline)}, to look at data and not to train: they may be fewer than a batch.
     *
     * @param pipeline what to make
     * @param samples how many samples the method was trained on, where it is not these data's: what it knows of each is state
     */
    public static Experiment openToEvaluate(Pipeline pipeline, OptionalInt samples) {
        return open(pipeline, false, samples);
    }

    private static Experiment open(Pipeline pipeline, boolean trains, OptionalInt samples) {
        Device device = pipeline.device().open();
        try {
            return new Experiment(pipeline, device, trains, samples);
        } catch (RuntimeException e) {
            device.close();
            throw e;
        }
    }

    private interface Maker<T> {
        T make();
    }

    // what a provider refuses is a wrong value in its section
    private static <T> T make(String section, Maker<T> maker) {
        try {
            return maker.make();
        } catch (IllegalArgumentException e) {
            throw new LearningException(section + ": " + e.getMessage(), e);
        }
    }

    /**
     * Makes the pipeline's encoder once more. It computes in its pass's precision, f32 outside a training, and gives f32.
     *
     * @param into a store; its parameters are declared under {@link #BACKBONE}, so that the same seed gives the same weights
     */
    public Encoder encoder(Parameters into) {
        return make("model", () -> MixedPrecision.of(pipeline.model().provider()
                .create(pipeline.model().settings(), into.sub(BACKBONE), views.shape())));
    }

    /**
     * Opens the loader of the training batches; batch {@code s} is a function of the seed and of {@code s}.
     */
    public Loader loader() {
        return new Loader(
                data.pretrain(), views, pipeline.batch().batch(), stepsPerEpoch * pipeline.batch().accumulate(), pipeline.seed(),
                host.threads());
    }

    /** Epochs of the whole run, the last one begun included. */
    public int epochs() {
        return pipeline.schedule().epochs(stepsPerEpoch);
    }

    /** What it was made from. */
    public Pipeline pipeline() {
        return pipeline;
    }

    /** Where it computes. */
    public Device device() {
        return device;
    }

    /** Where the host looks at results: the device itself if the host reaches its memory, else a CPU beside it. */
    public Device host() {
        return host;
    }

    /** The data. */
    public Datasets data() {
        return data;
    }

    /** How views are made. */
    public Views views() {
        return views;
    }

    /** All parameters and state: the encoder's under {@link #BACKBONE}, and the method's. */
    public Parameters parameters() {
        return parameters;
    }

    /** The encoder that is trained. */
    public Encoder encoder() {
        return encoder;
    }

    /** The method. */
    public Method method() {
        return method;
    }

    /** The optimizer, and those of the method's own. */
    public Optimizers optimizers() {
        return optimizers;
    }

    /** The learning rate by global step. */
    public Schedule schedule() {
        return schedule;
    }

    /** Updates an epoch; samples that do not fill one are left out. */
    public long stepsPerEpoch() {
        return stepsPerEpoch;
    }

    /** Updates of the whole run. */
    public long steps() {
        return steps;
    }

    /** What the method found odd when it was built, one line each. */
    public List<String> warnings() {
        return List.copyOf(warnings);
    }

    @Override
    public void close() {
        host.close();
        device.close();
    }
}
