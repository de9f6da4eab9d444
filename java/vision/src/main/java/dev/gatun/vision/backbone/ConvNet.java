// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.BatchNorm;
import dev.gatun.tensor.layer.Conv2d;
import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.Identity;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Parameters;
import dev.gatun.tensor.layer.Pass;
import dev.gatun.tensor.layer.Pool2d;
import java.util.ArrayList;
import java.util.List;

/** 3x3 convolutions with stride 2, each with batch norm and ReLU, then the mean over positions. */
final class ConvNet implements Encoder {
    private record Stage(Conv2d convolution, BatchNorm norm) {} // the norm ends in the ReLU

    private final Layer input;
    private final List<Stage> stages = new ArrayList<>();
    private final Pool2d mean = Pool2d.globalAverage();
    private final int features;

    ConvNet(ConvNetSettings settings, Parameters parameters, int channels) {
        input = settings.sobel() ? new Sobel(channels) : new Identity();
        int in = settings.sobel() ? Sobel.CHANNELS : channels;
        for (int out : settings.widths()) {
            int number = stages.size() + 1;
            stages.add(new Stage(
                    new Conv2d(parameters.sub("conv" + number), in, out, 3, 2, 1, 1, false),
                    new BatchNorm(parameters.sub("bn" + number), out, true)));
            in = out;
        }
        features = in;
    }

    @Override
    public int features() {
        return features;
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        x = input.forward(pass, x);
        for (Stage stage : stages) {
            x = stage.norm.forward(pass, stage.convolution.forward(pass, x));
        }
        return mean.forward(pass, x);
    }
}
