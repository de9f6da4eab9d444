// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.function.PreNormAttention;
import dev.gatun.tensor.function.PreNormBranch;
import dev.gatun.tensor.function.PreNormMlp;
import dev.gatun.tensor.function.Sequences;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A pre-norm transformer block (Dosovitskiy et al., 2020): attention and MLP, each behind a layer norm, with LayerScale (Touvron et al., 2021)
 * and stochastic depth if wanted, and added to its input. Parameters with timm's names: {@code norm1}, {@code attn.qkv}, {@code attn.proj},
 * {@code ls1.gamma}, {@code norm2}, {@code mlp.fc1}, {@code mlp.fc2}, {@code ls2.gamma}.
 *
 * <p>On a device that offers it each branch is one function ({@link PreNormBranch}), else it is composed of layers: the same parameters and
 * the same results but for rounding. {@link #form} says which.
 */
public final class TransformerBlock {
    /** How the branches are computed. */
    public enum Form {
        /** As one function each: less memory, fewer passes over it. */
        FUSED,
        /** Layer by layer. */
        COMPOSED
    }

    /**
     * Sizes of a block.
     *
     * @param width of a token
     * @param heads divides the width
     * @param hidden width of the MLP's hidden layer
     * @param epsilon of the norms
     * @param layerScale initial value of LayerScale's γ; 0: none
     * @param fuse whether branches are fused where a device offers it
     */
    public record Settings(int width, int heads, int hidden, double epsilon, double layerScale, boolean fuse) {}

    private final Settings settings;
    private final DropPath drop;
    private final LayerNorm attentionNorm;
    private final MultiHeadAttention attention;
    private final @Nullable Parameter attentionScale;
    private final LayerNorm mlpNorm;
    private final Linear fc1;
    private final Linear fc2;
    private final @Nullable Parameter mlpScale;

    /** With weights normal(.02) and biases of zeros. */
    public TransformerBlock(Parameters parameters, Settings settings, DropPath drop) {
        this.settings = settings;
        this.drop = drop;
        int width = settings.width();
        Initializer weights = Initializer.truncatedNormal(.02f);
        attentionNorm = new LayerNorm(parameters.sub("norm1"), width, settings.epsilon());
        attention = new MultiHeadAttention(parameters.sub("attn"), width, settings.heads(), true);
        attentionScale = scale(parameters.sub("ls1"));
        mlpNorm = new LayerNorm(parameters.sub("norm2"), width, settings.epsilon());
        fc1 = new Linear(parameters.sub("mlp.fc1"), width, settings.hidden(), true, weights, Initializer.zeros());
        fc2 = new Linear(parameters.sub("mlp.fc2"), settings.hidden(), width, true, weights, Initializer.zeros());
        mlpScale = scale(parameters.sub("ls2"));
    }

    private @Nullable Parameter scale(Parameters parameters) {
        return settings.layerScale() == 0 ? null
                : parameters.parameter("gamma", Initializer.constant((float) settings.layerScale()), settings.width());
    }

    /** How the branches are computed on a device in a dtype. */
    public Form form(Device device, DType type) {
        return settings.fuse() && PreNormBranch.offered(device, type) ? Form.FUSED : Form.COMPOSED;
    }

    /**
     * Which sequences of one batch of equally long ones run through the block's branches.
     *
     * @param attention of the first branch
     * @param mlp of the second
     */
    public record Drawn(Sequences.Group attention, Sequences.Group mlp) {}

    /** Draws which of {@code count} sequences of {@code length} tokens run through the branches; of batches of other lengths on their own. */
    public Drawn draw(Pass pass, int count, int length) {
        return new Drawn(drop.group(pass, count, length), drop.group(pass, count, length));
    }

    /**
     * The block of one batch of equally long sequences.
     *
     * @param x (B, N, C); not used any more by the caller: the result may take its memory
     * @return (B, N, C)
     */
    public Tensor forward(Pass pass, Tensor x) {
        if (x.rank() != 3) {
            throw new TensorException("transformer block: needs (B, N, C), given " + x.describe());
        }
        if (form(x.device(), x.dtype()) == Form.COMPOSED) {
            Tensor middle = drop.residual(pass, x, x, this::attend, attentionScale);
            // of a subset's branch backward reads the subset only
            Scope.discard(x, middle);
            Tensor out = drop.residual(pass, middle, middle, this::mlp, mlpScale);
            Scope.discard(middle, out);
            return out;
        }
        return forward(pass, x, List.of(draw(pass, Math.toIntExact(x.size(0)), Math.toIntExact(x.size(1)))));
    }

    /**
     * The block of sequences of several lengths at once: products see the tokens of all of them. Only where it is {@link Form#FUSED}.
     *
     * @param x (..., C): the tokens of equally long sequences one after the other, then those of the next length; not used any more by the
     *     caller: the result may take its memory
     * @param drawn for every length, in the order of the tokens
     * @return shape of x
     * @throws TensorException if the tokens are not as many as drawn says, or the device has no such form
     */
    public Tensor forward(Pass pass, Tensor x, List<Drawn> drawn) {
        Tensor middle = PreNormAttention.apply(new Sequences(drawn.stream().map(Drawn::attention).toList()), settings.heads(),
                settings.epsilon(), true, x, branch(pass, attentionNorm, attention.qkv(), attention.projection(), attentionScale));
        Scope.discard(x, middle);
        Tensor out = PreNormMlp.apply(new Sequences(drawn.stream().map(Drawn::mlp).toList()), settings.epsilon(), true, middle,
                branch(pass, mlpNorm, fc1, fc2, mlpScale));
        Scope.discard(middle, out);
        return out;
    }

    private static Tensor[] branch(Pass pass, LayerNorm norm, Linear in, Linear out, @Nullable Parameter scale) {
        List<Parameter> parameters = new ArrayList<>(List.of(norm.weight(), norm.bias(), in.weight(), in.bias(), out.weight(), out.bias()));
        if (scale != null) {
            parameters.add(scale);
        }
        return parameters.stream().map(pass::use).toArray(Tensor[]::new);
    }

    private Tensor attend(Pass pass, Tensor x) {
        Tensor normed = attentionNorm.forward(pass, x);
        Tensor y = attention.forward(pass, normed);
        Scope.discard(normed, y);
        return y;
    }

    private Tensor mlp(Pass pass, Tensor x) {
        Tensor normed = mlpNorm.forward(pass, x);
        Tensor hidden = fc1.forward(pass, normed);
        Scope.discard(normed, hidden);
        Tensor active = dev.gatun.tensor.function.Activation.gelu(hidden);
        Scope.discard(hidden, active);
        Tensor y = fc2.forward(pass, active);
        Scope.discard(active, y);
        return y;
    }
}
