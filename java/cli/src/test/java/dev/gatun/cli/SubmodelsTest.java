// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Metrics;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** cosub on the models that have stochastic depth: it is that which makes two submodels of one. */
class SubmodelsTest {
    private static final String RESNET = "{name: resnet, depths: [1, 1], widths: [8, 8], drop_path: RATE, drop_path_form: FORM}";
    private static final String VIT = "{name: vit, patch: 4, width: 16, depth: 2, heads: 2, drop_path: RATE, drop_path_form: FORM}";

    @TempDir
    Path folder;

    private List<Map<String, Double>> metrics(String model, double rate, String form, String loss) throws Exception {
        Path config = Tiny.config(folder, 1);
        String yaml = java.nio.file.Files.readString(config)
                .replaceAll("model: .*", "model: " + model.replace("RATE", "" + rate).replace("FORM", form))
                .replaceAll("method: .*", "method: {name: cosub, loss: " + loss + "}");
        java.nio.file.Files.writeString(config, yaml);
        Gatun.Result result = Gatun.here("pretrain", config.toString(), "--out", folder.resolve("run").toString());
        assertEquals(0, result.status(), result.err());
        return Metrics.read(folder.resolve("run"));
    }

    @ParameterizedTest
    @CsvSource({"resnet,mask,bce", "resnet,subset,softmax", "vit,mask,softmax", "vit,subset,bce"})
    void stochasticDepthMakesTwoSubmodels(String name, String form, String loss) throws Exception {
        List<Map<String, Double>> lines = metrics(name.equals("vit") ? VIT : RESNET, .5, form, loss);
        assertEquals(Tiny.TRAIN / 16, lines.size());
        for (Map<String, Double> line : lines) {
            assertTrue(line.get("submodel_distance") > 1e-5, line.toString());
            assertTrue(Double.isFinite(line.get("loss")) && line.get("gradient_norm") > 0, line.toString());
        }
    }

    @Test
    void withoutItTheSubmodelsAreOne() throws Exception {
        for (String model : List.of(RESNET, VIT)) {
            for (Map<String, Double> line : metrics(model, 0, "mask", "bce")) {
                assertEquals(0, line.get("submodel_distance"), line.toString());
            }
        }
    }
}
