// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.Pooling.Window;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.BatchNorm;
import dev.gatun.tensor.layer.Conv2d;
import dev.gatun.tensor.layer.DropPath;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Identity;
import dev.gatun.tensor.layer.Initializer;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.Pool2d;
import dev.gatun.tensor.layer.Sequential;
import java.util.ArrayList;
import java.util.List;

/** A residual network (He et al., 2015) in torchvision's layout, up to and including the mean over positions. */
final class ResNet implements Encoder {
    private static final int EXPANSION = 4;
    private static final Window STEM_POOLING = Window.of(3, 2, 1);

    private final Pool2d mean = Pool2d.globalAverage();
    private final Layer sobel;
    private final Conv2d convolution;
    private final BatchNorm norm;
    private final boolean small;
    private final List<Block> blocks = new ArrayList<>();
    private final double allowedError;
    private final int features;

    ResNet(ResNetSettings settings, Parameters parameters, int channels) {
        sobel = settings.sobel() ? new Sobel(channels) : new Identity();
        small = settings.stem().equals("small");
        allowedError = settings.allowedError();
        int in = settings.widths().getFirst();
        convolution = convolution(parameters.sub("conv1"), settings.sobel() ? Sobel.CHANNELS : channels, in, small ? 3 : 7, small ? 1 : 2);
        norm = new BatchNorm(parameters.sub("bn1"), in, true);
        int count = settings.depths().stream().mapToInt(Integer::intValue).sum();
        for (int stage = 0; stage < settings.depths().size(); stage++) {
            Parameters layer = parameters.sub("layer" + (stage + 1));
            for (int i = 0; i < settings.depths().get(stage); i++) {
                DropPath drop = Settings.drop(
                        settings.dropPath(), settings.dropPathRule(), settings.dropPathForm(), blocks.size(), count, true);
                Block block = new Block(settings, layer.sub(Integer.toString(i)), in, settings.widths().get(stage),
                        stage > 0 && i == 0 ? 2 : 1, drop);
                blocks.add(block);
                in = block.out;
            }
        }
        features = in;
    }

    private Conv2d convolution(Parameters parameters, int in, int out, int kernel, int stride) {
        Geometry geometry = Geometry.of(stride, kernel / 2).withAllowedError(allowedError);
        return new Conv2d(parameters, in, out, kernel, geometry, false, Initializer.kaimingNormalFanOut());
    }

    @Override
    public int features() {
        return features;
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        Tensor edges = sobel.forward(pass, x);
        Tensor stem = convolution.forward(pass, edges);
        Scope.discard(edges, x, stem);
        Tensor y = small ? norm.forward(pass, stem) : norm.forwardPooled(pass, stem, STEM_POOLING);
        Scope.discard(stem, x, y);
        for (Block block : blocks) {
            Tensor next = block.forward(pass, y);
            Scope.discard(y, next, x);
            y = next;
        }
        Tensor features = mean.forward(pass, y);
        Scope.discard(y, features, x);
        return features;
    }

    /**
     * Convolutions with batch norms, which hold the ReLU between them, added to the input and passed through ReLU. Where stochastic
     * depth keeps a subset, the branch's batch norms normalise by the kept rows and average their statistics; the shortcut's see
     * all rows.
     */
    private final class Block {
        /** Up to the last batch norm, which joins the shortcut where nothing is dropped. */
        private final Sequential branch;
        private final BatchNorm last;
        /** Nothing where the shape stays. */
        private final Sequential shortcut;
        private final DropPath drop;
        private final int out;

        Block(ResNetSettings settings, Parameters parameters, int in, int width, int stride, DropPath drop) {
            boolean zero = settings.zeroGamma();
            List<Layer> layers = new ArrayList<>();
            if (settings.block().equals("basic")) {
                out = width;
                add(layers, parameters, in, width, 3, stride, false, zero);
                add(layers, parameters, width, out, 3, 1, true, zero);
            } else {
                out = width * EXPANSION;
                add(layers, parameters, in, width, 1, 1, false, zero);
                add(layers, parameters, width, width, 3, stride, false, zero);
                add(layers, parameters, width, out, 1, 1, true, zero);
            }
            last = (BatchNorm) layers.removeLast();
            branch = new Sequential(layers);
            shortcut = stride == 1 && in == out ? new Sequential()
                    : new Sequential(convolution(parameters.sub("downsample.0"), in, out, 1, stride), new BatchNorm(parameters.sub("downsample.1"), out));
            this.drop = drop;
        }

        private void add(
                List<Layer> layers, Parameters parameters, int in, int out, int kernel, int stride, boolean last, boolean zeroGamma) {
            int number = layers.size() / 2 + 1;
            layers.add(convolution(parameters.sub("conv" + number), in, out, kernel, stride));
            Initializer scale = last && zeroGamma ? Initializer.zeros() : Initializer.ones();
            layers.add(new BatchNorm(parameters.sub("bn" + number), out, !last, scale));
        }

        Tensor forward(Pass pass, Tensor x) {
            Tensor identity = shortcut.forward(pass, x);
            Tensor y;
            if (drop.drops(pass)) {
                y = drop.residual(pass, identity, x, new Sequential(branch, last), null);
            } else {
                Tensor inner = branch.forward(pass, x);
                y = last.forwardResidual(pass, inner, identity);
                Scope.discard(inner, x, identity, y);
            }
            Scope.discard(identity, x, y);
            return y;
        }
    }
}
