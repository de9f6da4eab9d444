// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Parameter updates over flat buffers: all tensors of a model in one sweep. What changes from step to step (learning rate, step number,
 * momentum of the average, gradient scale, skip flag) is read from memory. A skip flag other than 0 leaves every buffer as it is.
 * Buffers of one call must not overlap.
 */
public final class Optimizer {
    private static final Downcall ADAMW = Downcall.operation("gatun_optimizer_adamw", 11);
    private static final Struct ADAMW_DESC = Struct.descriptor("gatun_optimizer_adamw_desc");

    static {
        ADAMW_DESC.u32("reserved");
    }

    private static final long ADAMW_BETA1 = ADAMW_DESC.f32("beta1");
    private static final long ADAMW_BETA2 = ADAMW_DESC.f32("beta2");
    private static final long ADAMW_EPSILON = ADAMW_DESC.f32("epsilon");
    private static final long ADAMW_WEIGHT_DECAY = ADAMW_DESC.f32("weight_decay");
    private static final long ADAMW_VALUES = ADAMW_DESC.layout("values");
    private static final long ADAMW_GRADIENTS = ADAMW_DESC.layout("gradients");
    private static final long ADAMW_FIRST_MOMENT = ADAMW_DESC.layout("first_moment");
    private static final long ADAMW_SECOND_MOMENT = ADAMW_DESC.layout("second_moment");
    private static final long ADAMW_OFFSETS = ADAMW_DESC.layout("offsets");
    private static final long ADAMW_RATE_SCALE = ADAMW_DESC.layout("rate_scale");
    private static final long ADAMW_DECAY_SCALE = ADAMW_DESC.layout("decay_scale");
    private static final long ADAMW_LEARNING_RATE = ADAMW_DESC.layout("learning_rate");
    private static final long ADAMW_STEP = ADAMW_DESC.layout("step");
    private static final long ADAMW_GRADIENT_SCALE = ADAMW_DESC.layout("gradient_scale");
    private static final long ADAMW_SKIP = ADAMW_DESC.layout("skip");

    private static final Downcall SGD = Downcall.operation("gatun_optimizer_sgd", 9);
    private static final Struct SGD_DESC = Struct.descriptor("gatun_optimizer_sgd_desc");
    private static final long SGD_NESTEROV = SGD_DESC.i32("nesterov");
    private static final long SGD_MOMENTUM = SGD_DESC.f32("momentum");
    private static final long SGD_WEIGHT_DECAY = SGD_DESC.f32("weight_decay");
    private static final long SGD_VALUES = SGD_DESC.layout("values");
    private static final long SGD_GRADIENTS = SGD_DESC.layout("gradients");
    private static final long SGD_VELOCITY = SGD_DESC.layout("velocity");
    private static final long SGD_OFFSETS = SGD_DESC.layout("offsets");
    private static final long SGD_RATE_SCALE = SGD_DESC.layout("rate_scale");
    private static final long SGD_DECAY_SCALE = SGD_DESC.layout("decay_scale");
    private static final long SGD_LEARNING_RATE = SGD_DESC.layout("learning_rate");
    private static final long SGD_GRADIENT_SCALE = SGD_DESC.layout("gradient_scale");
    private static final long SGD_SKIP = SGD_DESC.layout("skip");

    private static final Downcall LARS = Downcall.withWorkspace("gatun_optimizer_lars", 10);
    private static final Downcall LARC = Downcall.withWorkspace("gatun_optimizer_larc", 10);
    private static final Downcall LARS_WORKSPACE = Downcall.workspaceQuery("gatun_optimizer_lars_workspace");
    private static final Struct LARS_DESC = Struct.descriptor("gatun_optimizer_lars_desc");
    private static final long LARS_MOMENTUM = LARS_DESC.f32("momentum");
    private static final long LARS_WEIGHT_DECAY = LARS_DESC.f32("weight_decay");
    private static final long LARS_TRUST = LARS_DESC.f32("trust");
    private static final long LARS_VALUES = LARS_DESC.layout("values");
    private static final long LARS_GRADIENTS = LARS_DESC.layout("gradients");
    private static final long LARS_VELOCITY = LARS_DESC.layout("velocity");
    private static final long LARS_OFFSETS = LARS_DESC.layout("offsets");
    private static final long LARS_RATE_SCALE = LARS_DESC.layout("rate_scale");
    private static final long LARS_DECAY_SCALE = LARS_DESC.layout("decay_scale");
    private static final long LARS_ADAPT = LARS_DESC.layout("adapt");
    private static final long LARS_LEARNING_RATE = LARS_DESC.layout("learning_rate");
    private static final long LARS_GRADIENT_SCALE = LARS_DESC.layout("gradient_scale");
    private static final long LARS_SKIP = LARS_DESC.layout("skip");

    private static final Downcall EMA = Downcall.operation("gatun_optimizer_ema", 4);
    private static final Struct EMA_DESC = Struct.descriptor("gatun_optimizer_ema_desc");

    static {
        EMA_DESC.u32("reserved");
    }

    private static final long EMA_AVERAGE = EMA_DESC.layout("average");
    private static final long EMA_VALUES = EMA_DESC.layout("values");
    private static final long EMA_MOMENTUM = EMA_DESC.layout("momentum");
    private static final long EMA_SKIP = EMA_DESC.layout("skip");

    private static final Downcall ADVANCE = Downcall.operation("gatun_optimizer_advance", 2);
    private static final Struct ADVANCE_DESC = Struct.descriptor("gatun_optimizer_advance_desc");

    static {
        ADVANCE_DESC.u32("reserved");
    }

    private static final long ADVANCE_STEP = ADVANCE_DESC.layout("step");
    private static final long ADVANCE_SKIP = ADVANCE_DESC.layout("skip");

    private static final Downcall NORM = Downcall.withWorkspace("gatun_optimizer_gradient_norm", 4);
    private static final Downcall NORM_WORKSPACE = Downcall.workspaceQuery("gatun_optimizer_gradient_norm_workspace");
    private static final Struct NORM_DESC = Struct.descriptor("gatun_optimizer_gradient_norm_desc");
    private static final long NORM_MAX_NORM = NORM_DESC.f32("max_norm");
    private static final long NORM_GRADIENTS = NORM_DESC.layout("gradients");
    private static final long NORM_NORM = NORM_DESC.layout("norm");
    private static final long NORM_SCALE = NORM_DESC.layout("scale");
    private static final long NORM_SKIP = NORM_DESC.layout("skip");

    private Optimizer() {}

    /**
     * The parameters of a model.
     *
     * @param values f32 (n), updated
     * @param gradients f32 (n)
     * @param offsets i64 (T + 1): tensor t is elements offsets[t] to offsets[t+1]; from 0 to n
     * @param rateScale f32 (T): multiplies the learning rate of a tensor; {@link Operand#NONE}: 1
     * @param decayScale f32 (T): multiplies the weight decay, 0 for biases and norm weights; {@link Operand#NONE}: 1
     */
    public record Parameters(Operand values, Operand gradients, Operand offsets, Operand rateScale, Operand decayScale) {}

    /**
     * What may change from step to step.
     *
     * @param learningRate f32 (1)
     * @param gradientScale f32 (1): gradients are multiplied by it first; {@link Operand#NONE}: 1
     * @param skip i32 (1): not 0 leaves every buffer as it is; {@link Operand#NONE}: never
     */
    public record Control(Operand learningRate, Operand gradientScale, Operand skip) {}

    /**
     * AdamW (Loshchilov, Hutter, 2019) with decoupled weight decay and bias correction.
     *
     * @param firstMoment f32 (n), updated; zeros before the first step
     * @param secondMoment f32 (n), updated; zeros before the first step
     * @param step i64 (1): number of this update, from 1
     * @param beta1 decay of the first moment, in [0, 1)
     * @param beta2 decay of the second moment, in [0, 1)
     * @param epsilon added to the root of the second moment, positive
     * @param weightDecay value *= 1 − learningRate · weightDecay
     */
    public static void adamw(
            GatunStream stream,
            Parameters parameters,
            Operand firstMoment,
            Operand secondMoment,
            Operand step,
            Control control,
            float beta1,
            float beta2,
            float epsilon,
            float weightDecay) {
        try (Call call = Call.of(stream, ADAMW, ADAMW_DESC)) {
            call.set(ADAMW_BETA1, beta1);
            call.set(ADAMW_BETA2, beta2);
            call.set(ADAMW_EPSILON, epsilon);
            call.set(ADAMW_WEIGHT_DECAY, weightDecay);
            call.output(ADAMW_VALUES, "values", parameters.values);
            call.input(ADAMW_GRADIENTS, "gradients", parameters.gradients);
            call.output(ADAMW_FIRST_MOMENT, "first_moment", firstMoment);
            call.output(ADAMW_SECOND_MOMENT, "second_moment", secondMoment);
            call.input(ADAMW_OFFSETS, "offsets", parameters.offsets);
            call.input(ADAMW_RATE_SCALE, "rate_scale", parameters.rateScale);
            call.input(ADAMW_DECAY_SCALE, "decay_scale", parameters.decayScale);
            call.input(ADAMW_LEARNING_RATE, "learning_rate", control.learningRate);
            call.input(ADAMW_STEP, "step", step);
            call.input(ADAMW_GRADIENT_SCALE, "gradient_scale", control.gradientScale);
            call.input(ADAMW_SKIP, "skip", control.skip);
            call.run();
        }
    }

    /**
     * Stochastic gradient descent: u = g + weightDecay · p; m = momentum · m + u; p −= lr · (nesterov ? u + momentum · m : m).
     *
     * @param velocity f32 (n), updated; zeros before the first step
     * @param momentum in [0, 1)
     * @param weightDecay coupled
     */
    public static void sgd(
            GatunStream stream,
            Parameters parameters,
            Operand velocity,
            Control control,
            float momentum,
            float weightDecay,
            boolean nesterov) {
        try (Call call = Call.of(stream, SGD, SGD_DESC)) {
            call.set(SGD_NESTEROV, nesterov ? 1 : 0);
            call.set(SGD_MOMENTUM, momentum);
            call.set(SGD_WEIGHT_DECAY, weightDecay);
            call.output(SGD_VALUES, "values", parameters.values);
            call.input(SGD_GRADIENTS, "gradients", parameters.gradients);
            call.output(SGD_VELOCITY, "velocity", velocity);
            call.input(SGD_OFFSETS, "offsets", parameters.offsets);
            call.input(SGD_RATE_SCALE, "rate_scale", parameters.rateScale);
            call.input(SGD_DECAY_SCALE, "decay_scale", parameters.decayScale);
            call.input(SGD_LEARNING_RATE, "learning_rate", control.learningRate);
            call.input(SGD_GRADIENT_SCALE, "gradient_scale", control.gradientScale);
            call.input(SGD_SKIP, "skip", control.skip);
            call.run();
        }
    }

    /** Bytes of workspace, aligned to 64, that {@link #lars} and {@link #larc} need for these parameters. */
    public static long larsWorkspace(GatunStream stream, Parameters parameters) {
        try (Call call = Call.of(stream, LARS_WORKSPACE, LARS_DESC)) {
            call.layout(LARS_VALUES, parameters.values);
            call.layout(LARS_OFFSETS, parameters.offsets);
            return call.queryWorkspace();
        }
    }

    /**
     * LARS as BYOL uses it: u = g + weightDecay · p; u *= trust ‖p‖ / ‖u‖ for adapted tensors (1 if a norm is 0); m = momentum · m + u;
     * p −= lr · m. Biases and norm weights get decayScale 0 and adapt 0.
     *
     * @param velocity f32 (n), updated; zeros before the first step
     * @param adapt u8 (T): 0 = factor 1; {@link Operand#NONE}: adapt all
     * @param momentum in [0, 1)
     * @param trust trust coefficient, positive
     * @param workspace at least {@link #larsWorkspace} bytes, aligned to 64
     */
    public static void lars(
            GatunStream stream,
            Parameters parameters,
            Operand velocity,
            Operand adapt,
            Control control,
            float momentum,
            float weightDecay,
            float trust,
            MemorySegment workspace) {
        layerwise(LARS, stream, parameters, velocity, adapt, control, momentum, weightDecay, trust, workspace);
    }

    /**
     * LARC without clipping, as SwAV uses it on every tensor: u = (g + weightDecay · p) · trust ‖p‖ / (‖g‖ + weightDecay ‖p‖ + 1e-8) for
     * adapted tensors (u = g if a norm is 0); m = momentum · m + u; p −= lr · m. Parameters as {@link #lars}.
     */
    public static void larc(
            GatunStream stream,
            Parameters parameters,
            Operand velocity,
            Operand adapt,
            Control control,
            float momentum,
            float weightDecay,
            float trust,
            MemorySegment workspace) {
        layerwise(LARC, stream, parameters, velocity, adapt, control, momentum, weightDecay, trust, workspace);
    }

    private static void layerwise(
            Downcall downcall,
            GatunStream stream,
            Parameters parameters,
            Operand velocity,
            Operand adapt,
            Control control,
            float momentum,
            float weightDecay,
            float trust,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, downcall, LARS_DESC)) {
            call.set(LARS_MOMENTUM, momentum);
            call.set(LARS_WEIGHT_DECAY, weightDecay);
            call.set(LARS_TRUST, trust);
            call.output(LARS_VALUES, "values", parameters.values);
            call.input(LARS_GRADIENTS, "gradients", parameters.gradients);
            call.output(LARS_VELOCITY, "velocity", velocity);
            call.input(LARS_OFFSETS, "offsets", parameters.offsets);
            call.input(LARS_RATE_SCALE, "rate_scale", parameters.rateScale);
            call.input(LARS_DECAY_SCALE, "decay_scale", parameters.decayScale);
            call.input(LARS_ADAPT, "adapt", adapt);
            call.input(LARS_LEARNING_RATE, "learning_rate", control.learningRate);
            call.input(LARS_GRADIENT_SCALE, "gradient_scale", control.gradientScale);
            call.input(LARS_SKIP, "skip", control.skip);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * Exponential moving average: average = momentum · average + (1 − momentum) · values.
     *
     * @param average f32 (n), updated
     * @param values f32 (n)
     * @param momentum f32 (1)
     * @param skip i32 (1): not 0 leaves the average as it is; {@link Operand#NONE}: never
     */
    public static void ema(GatunStream stream, Operand average, Operand values, Operand momentum, Operand skip) {
        try (Call call = Call.of(stream, EMA, EMA_DESC)) {
            call.output(EMA_AVERAGE, "average", average);
            call.input(EMA_VALUES, "values", values);
            call.input(EMA_MOMENTUM, "momentum", momentum);
            call.input(EMA_SKIP, "skip", skip);
            call.run();
        }
    }

    /**
     * step += 1: the number of the update that follows.
     *
     * @param step i64 (1), updated
     * @param skip i32 (1): not 0 leaves it; {@link Operand#NONE}: never
     */
    public static void advance(GatunStream stream, Operand step, Operand skip) {
        try (Call call = Call.of(stream, ADVANCE, ADVANCE_DESC)) {
            call.output(ADVANCE_STEP, "step", step);
            call.input(ADVANCE_SKIP, "skip", skip);
            call.run();
        }
    }

    /** Bytes of workspace, aligned to 64, that {@link #gradientNorm} needs. */
    public static long gradientNormWorkspace(GatunStream stream, Operand gradients) {
        try (Call call = Call.of(stream, NORM_WORKSPACE, NORM_DESC)) {
            call.layout(NORM_GRADIENTS, gradients);
            return call.queryWorkspace();
        }
    }

    /**
     * Euclidean norm of the whole gradient, and the scale that clips it.
     *
     * @param gradients f32 (n)
     * @param norm f32 (1), written
     * @param scale f32 (1), written: min(1, maxNorm / norm), to be an update's gradientScale; or {@link Operand#NONE}
     * @param skip i32 (1), set to 1 when the norm is not finite, else left as it is; or {@link Operand#NONE}
     * @param maxNorm positive; infinity never clips
     * @param workspace at least {@link #gradientNormWorkspace} bytes, aligned to 64
     */
    public static void gradientNorm(
            GatunStream stream, Operand gradients, Operand norm, Operand scale, Operand skip, float maxNorm, MemorySegment workspace) {
        try (Call call = Call.of(stream, NORM, NORM_DESC)) {
            call.set(NORM_MAX_NORM, maxNorm);
            call.input(NORM_GRADIENTS, "gradients", gradients);
            call.output(NORM_NORM, "norm", norm);
            call.output(NORM_SCALE, "scale", scale);
            call.output(NORM_SKIP, "skip", skip);
            call.runWithWorkspace(workspace);
        }
    }
}
