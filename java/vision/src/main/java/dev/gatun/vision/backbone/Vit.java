// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.function.GatherRows;
import dev.gatun.tensor.layer.Conv2d;
import dev.gatun.tensor.layer.DropPath;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.FileLayout;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.LayerNorm;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.TransformerBlock;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * A vision transformer (Dosovitskiy et al., 2020) in timm's layout, up to and including the last layer norm. Images of
 * other sizes than the one it is made for get their position embeddings by interpolation.
 */
final class Vit implements Encoder {
    private static final double EPSILON = 1e-6;
    private static final Initializer WEIGHTS = Initializer.truncatedNormal(.02f);

    private final int patch;
    private final int width;
    private final boolean average;
    private final int gridHeight;
    private final int gridWidth;
    private final Conv2d embed;
    private final Parameter token;
    private final Parameter positions;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final LayerNorm norm;

    Vit(VitSettings settings, Parameters parameters, long[] inputShape) {
        patch = settings.patch();
        width = settings.width();
        average = settings.pooling().equals("average");
        checkSize(inputShape[0], inputShape[1]);
        gridHeight = (int) inputShape[0] / patch;
        gridWidth = (int) inputShape[1] / patch;
        token = parameters.parameter("cls_token", Initializer.normal(1e-6f), FileLayout.SAME, false, 1, 1, width);
        positions = parameters.parameter("pos_embed", WEIGHTS, FileLayout.SAME, false, 1, gridHeight * gridWidth + 1, width);
        embed = new Conv2d(parameters.sub("patch_embed.proj"), (int) inputShape[2], width, patch, Geometry.of(patch, 0, 1, 1), true,
                Initializer.fanInUniform());
        TransformerBlock.Settings block = new TransformerBlock.Settings(
                width, settings.heads(), (int) (width * settings.mlpRatio()), EPSILON, settings.layerScale(), settings.blocks().equals("fused"));
        for (int i = 0; i < settings.depth(); i++) {
            DropPath drop = Settings.drop(
                    settings.dropPath(), settings.dropPathRule(), settings.dropPathForm(), i, settings.depth(), false);
            blocks.add(new TransformerBlock(parameters.sub("blocks." + i), block, drop));
        }
        norm = new LayerNorm(parameters.sub("norm"), width, EPSILON);
    }

    @Override
    public int features() {
        return width;
    }

    @Override
    public String form(Device device, DType type) {
        return blocks.getFirst().form(device, type) == TransformerBlock.Form.FUSED ? "fused blocks" : "composed blocks";
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return forwardAll(pass, List.of(x));
    }

    /** Images of several sizes, one batch for each; through fused blocks the tokens of all of them go together. */
    @Override
    public Tensor forwardAll(Pass pass, List<Tensor> batches) {
        Tensor first = batches.getFirst();
        boolean fused = blocks.getFirst().form(first.device(), first.dtype()) == TransformerBlock.Form.FUSED;
        if (!fused && batches.size() > 1) {
            return Encoder.super.forwardAll(pass, batches);
        }
        List<Tensor> tokens = batches.stream().map(x -> tokens(pass, x)).toList();
        List<long[]> shapes = tokens.stream().map(Tensor::shape).toList();
        Tensor all = join(tokens);
        if (fused) {
            all = fused(pass, all, shapes);
        } else {
            for (TransformerBlock block : blocks) {
                all = block.forward(pass, all);
            }
        }
        return pooled(pass, all, shapes);
    }

    /** The features of every image, of tokens that lie one sequence after the other. */
    private Tensor pooled(Pass pass, Tensor tokens, List<long[]> shapes) {
        if (!average) {
            Tensor rows = pass.scope().fromHost(DType.I32, target -> firsts(shapes, target), shapes.stream().mapToLong(shape -> shape[0]).sum());
            return norm.forward(pass, GatherRows.apply(tokens.reshape(-1, width), rows));
        }
        Tensor normed = norm.forward(pass, tokens).reshape(-1, width);
        List<Tensor> means = new ArrayList<>();
        long from = 0;
        for (long[] shape : shapes) {
            long to = from + shape[0] * shape[1];
            means.add(normed.slice(0, from, to).reshape(shape).slice(1, 1, shape[1]).mean(1));
            from = to;
        }
        return join(means);
    }

    /** The rows of the class tokens, which come first. */
    private static void firsts(List<long[]> shapes, MemorySegment target) {
        int at = 0;
        long row = 0;
        for (long[] shape : shapes) {
            for (long i = 0; i < shape[0]; i++) {
                target.setAtIndex(ValueLayout.JAVA_INT, at++, Math.toIntExact(row));
                row += shape[1];
            }
        }
    }

    /** One after the other: a single one as it is, of several the rows. */
    private Tensor join(List<Tensor> parts) {
        if (parts.size() == 1) {
            return parts.getFirst();
        }
        Tensor all = Tensor.concat(0, parts.stream().map(part -> part.reshape(-1, width)).toArray(Tensor[]::new));
        parts.forEach(part -> Scope.discard(part, all));
        return all;
    }

    private Tensor fused(Pass pass, Tensor tokens, List<long[]> shapes) {
        // drawn as if one size went through all blocks before the next
        List<List<TransformerBlock.Drawn>> drawn = new ArrayList<>();
        blocks.forEach(block -> drawn.add(new ArrayList<>()));
        for (long[] shape : shapes) {
            for (int i = 0; i < drawn.size(); i++) {
                drawn.get(i).add(blocks.get(i).draw(pass, Math.toIntExact(shape[0]), Math.toIntExact(shape[1])));
            }
        }
        Tensor x = tokens;
        for (int i = 0; i < drawn.size(); i++) {
            x = blocks.get(i).forward(pass, x, drawn.get(i));
        }
        return x;
    }

    /** Patches behind the class token, with the embeddings of their positions: (B, N, C). */
    private Tensor tokens(Pass pass, Tensor x) {
        checkSize(x.size(1), x.size(2));
        Tensor patches = embed.forward(pass, x);
        int height = (int) patches.size(1);
        int across = (int) patches.size(2);
        long batch = x.size(0);
        patches = patches.reshape(batch, (long) height * across, width);
        Tensor first = pass.scope().zeros(x.dtype(), batch, 1, width).add(pass.use(token, x.dtype()));
        Tensor placed = Tensor.concat(1, first, patches);
        Scope.discard(patches, placed);
        Tensor tokens = placed.add(positions(pass, height, across, x.dtype()));
        Scope.discard(placed, tokens);
        return tokens;
    }

    private Tensor positions(Pass pass, int height, int across, DType type) {
        if (height == gridHeight && across == gridWidth) {
            return pass.use(positions, type);
        }
        // few numbers: interpolated in f32, rounded once
        Tensor all = pass.use(positions);
        int from = gridHeight * gridWidth;
        Tensor weights = pass.scope().constant(PositionGrid.weights(gridHeight, gridWidth, height, across), height * across, from);
        Tensor grid = weights.matmul(all.slice(1, 1, from + 1).reshape(from, width));
        return Tensor.concat(1, all.slice(1, 0, 1), grid.reshape(1, (long) height * across, width)).to(type);
    }

    private void checkSize(long height, long across) {
        if (height < patch || height % patch != 0 || across < patch || across % patch != 0) {
            throw new TensorException("vit: images of " + height + "x" + across + " do not divide into patches of " + patch + "x" + patch);
        }
    }
}
