// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.steps;

import dev.gatun.learning.method.SwavProvider;
import dev.gatun.vision.backbone.ResNetSettings;
import dev.gatun.vision.backbone.VitSettings;

/** Floating-point operations of products and convolutions in a step: once forward, twice backward, once where nothing goes further back. Dropped residuals cost nothing. */
final class StepCosts {
    private StepCosts() {}

    static double flops(Training training) {
        double total = 0;
        int copies = training.pipeline().method().name().equals("cosub") ? 2 : 1;
        for (var role : training.roles()) {
            double images = (double) copies * training.batch();
            total += switch (training.pipeline().model().settings()) {
                case VitSettings vit -> vit(vit, images, role.size());
                case ResNetSettings resnet -> resnet(resnet, images, role.size());
                default -> throw new IllegalArgumentException("no costs of this model");
            };
        }
        return total + head(training);
    }

    private static double vit(VitSettings vit, double images, int side) {
        double patches = Math.pow((double) side / vit.patch(), 2);
        double tokens = patches + 1;
        double kept = 1 - vit.dropPath();
        double embedding = 2 * 2 * images * patches * vit.width() * 3 * vit.patch() * vit.patch();
        return embedding + vit.depth() * kept * vitBlock(images, tokens, vit.width(), vit.mlpRatio());
    }

    /** Forward and backward: attention has two products forward and five backward. */
    static double vitBlock(double sequences, double tokens, double width, double mlpRatio) {
        double linear = 2 * sequences * tokens * width * width * (4 + 2 * mlpRatio);
        double attention = 2 * sequences * tokens * tokens * width;
        return 3 * linear + 7 * attention;
    }

    private static double resnet(ResNetSettings resnet, double images, int size) {
        double side = size / 2.0;
        double total = 2 * 2 * images * side * side * resnet.widths().getFirst() * 3 * 7 * 7;
        side /= 2;
        int in = resnet.widths().getFirst();
        for (int stage = 0; stage < resnet.depths().size(); stage++) {
            int out = resnet.widths().get(stage);
            for (int block = 0; block < resnet.depths().get(stage); block++) {
                boolean strided = stage > 0 && block == 0;
                side = strided ? side / 2 : side;
                double positions = 3 * 2 * images * side * side;
                total += positions * 9 * ((double) in * out + (double) out * out) + (strided ? positions * in * out : 0);
                in = out;
            }
        }
        return total;
    }

    private static double head(Training training) {
        double rows = (double) training.roles().size() * training.batch();
        return training.pipeline().method().settings() instanceof SwavProvider.Settings swav
                ? 6 * rows * swav.output() * (swav.prototypes() + swav.hidden().getFirst()) : 0;
    }
}
