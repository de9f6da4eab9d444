// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import dev.gatun.tensor.layer.DropPath;
import java.util.List;

/** Checks that the settings of the backbones share. */
final class Settings {
    private Settings() {}

    /** Refuses a value in one line; whoever reads the file adds where the key is. */
    static void require(boolean holds, String key, Object value, String allowed) {
        if (!holds) {
            throw new IllegalArgumentException(key + " is " + value + "; allowed is " + allowed);
        }
    }

    static void sizes(List<Integer> values, String key) {
        require(!values.isEmpty() && values.stream().allMatch(v -> v >= 1 && v <= 1 << 16), key, values,
                "a list of at least one number from 1 to 65536");
    }

    static void rates(double dropPath, String dropPathRule, String dropPathForm) {
        require(dropPath >= 0 && dropPath < 1, "drop_path", dropPath, "0 (none) to below 1");
        require(dropPathRule.equals("uniform") || dropPathRule.equals("linear"), "drop_path_rule", dropPathRule, "uniform or linear");
        require(dropPathForm.equals("mask") || dropPathForm.equals("subset"), "drop_path_form", dropPathForm, "mask or subset");
    }

    /** The drop rate of a block: the same everywhere, or rising from 0 at the first block to the full rate at the last. */
    static double rate(double dropPath, String dropPathRule, int block, int blocks) {
        return dropPathRule.equals("uniform") || blocks == 1 ? dropPath : dropPath * block / (blocks - 1);
    }

    /** Stochastic depth of a block, with a ReLU behind it or not. */
    static DropPath drop(
            double dropPath, String dropPathRule, String dropPathForm, int block, int blocks, boolean relu) {
        return new DropPath(rate(dropPath, dropPathRule, block, blocks),
                dropPathForm.equals("subset") ? DropPath.Form.SUBSET : DropPath.Form.MASK, relu);
    }

    static void images(String family, long[] inputShape) {
        if (inputShape.length != 3 || inputShape[0] < 1 || inputShape[1] < 1 || inputShape[2] < 1) {
            throw new IllegalArgumentException(family + " encodes images (height, width, channels), not inputs of shape "
                    + java.util.Arrays.toString(inputShape));
        }
    }
}
