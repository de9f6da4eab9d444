// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.LearningException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PipelineReaderTest {
    private static final String WHOLE = """
            version: 1
            seed: 3
            device: {name: cpu, threads: 1}
            data: {name: synthetic, images: 48, batch: 12}
            views:
              name: noise
              noise: 0.1
              crops:
                - {role: global, count: 2}
                - {role: local, count: 1}
            model: {name: matrix, width: 5}
            method: {name: pull}
            optimizer: {name: adamw, lr: 1e-3, weight_decay: 0.05}
            schedule: {epochs: 2, warmup_epochs: 0.5}
            """;

    private static Pipeline parse(String yaml, String... overrides) {
        return PipelineReader.parse(yaml, "some.yaml", List.of(overrides), null);
    }

    private static String error(String yaml, String... overrides) {
        String message = assertThrows(LearningException.class, () -> parse(yaml, overrides)).getMessage();
        assertFalse(message.contains("\n"), message);
        return message;
    }

    @Test
    void bindsSectionsAndKeepsDefaults() {
        Pipeline pipeline = parse(WHOLE);
        assertEquals(3, pipeline.seed());
        assertEquals(12, pipeline.batch().batch());
        assertEquals(1, pipeline.batch().accumulate());
        assertEquals("{images=48}", Binder.unbind(pipeline.data().settings()).toString());
        assertEquals(
                "{crops=[{role=global, count=2}, {role=local, count=1}], noise=0.1}",
                Binder.unbind(pipeline.views().settings()).toString());
        assertEquals(1e-3, pipeline.optimizer().provider().lr(pipeline.optimizer().settings()));
        assertEquals(.5, pipeline.schedule().warmupEpochs());
        assertEquals(20, pipeline.evaluation().neighbours());
    }

    @Test
    void theResolvedFileReadsBackToTheSame() {
        Pipeline pipeline = parse(WHOLE, "optimizer.beta2=0.95", "device.threads=0");
        String yaml = pipeline.toYaml();
        assertEquals(pipeline.toMap(), parse(yaml).toMap());
        assertEquals(yaml, parse(yaml).toYaml());
        assertTrue(yaml.contains("beta2: 0.95"), yaml);
        assertFalse(yaml.contains("threads: 0"), "the number of threads is written resolved");
    }

    @Test
    void textsThatLookLikeSomethingElseSurvive() {
        for (String text : List.of("no", "1e3", "0x10", "", "~", "a: b", "#x", "- y", "true", "'", "/run s/x", "null", "\u00e9")) {
            Pipeline pipeline = parse(WHOLE, "checkpoint.backbone='" + text.replace("'", "''") + "'");
            assertEquals(text, pipeline.checkpoint().backbone());
            assertEquals(text, parse(pipeline.toYaml()).checkpoint().backbone(), pipeline.toYaml());
        }
    }

    @Test
    void overridesReplaceAndAdd() {
        Pipeline pipeline = parse(
                WHOLE, "schedule.epochs=5", "views.crops.1.count=4", "evaluation.neighbours=3", "seed=9", "device=cpu",
                "evaluation.features=[pixels]");
        assertEquals(5, pipeline.schedule().epochs());
        assertEquals(9, pipeline.seed());
        assertEquals(3, pipeline.evaluation().neighbours());
        assertEquals(List.of("pixels"), pipeline.evaluation().features());
        assertTrue(pipeline.toYaml().contains("count: 4"));
    }

    @Test
    void theShortFormOfTheDeviceTakesOverrides() {
        String yaml = WHOLE.replace("{name: cpu, threads: 1}", "cpu");
        assertEquals(3, parse(yaml, "device.threads=3").device().threads());
        assertEquals(Runtime.getRuntime().availableProcessors(), parse(yaml).device().threads());
    }

    @Test
    void theIdentityNamesWhoRounds() {
        assertEquals("cpu", parse(WHOLE).identity().get("device"));
        assertEquals("cuda", parse(WHOLE, "device.name=cuda:1", "device.threads=2").identity().get("device"));
        assertEquals("cuda in tf32", parse(WHOLE, "device.name=cuda", "device.tf32=true").identity().get("device"));
        assertEquals("cuda with gatun's products", parse(WHOLE, "device.name=cuda", "device.gemm=gatun").identity().get("device"));
        assertEquals("cuda with cudnn's convolutions in tf32", parse(
                WHOLE, "device.name=cuda", "device.convolution=cudnn", "device.tf32=true").identity().get("device"));
    }

    @Test
    void aCudaDeviceTakesItsLibrariesFromTheFile() {
        String yaml = WHOLE.replace("{name: cpu, threads: 1}", "{name: 'cuda:1', tf32: true}");
        assertTrue(parse(yaml).device().tf32());
        assertEquals(DeviceSettings.Products.LIBRARY, parse(yaml).device().gemm());
        assertEquals(DeviceSettings.Products.GATUN, parse(yaml, "device.tf32=false", "device.gemm=gatun").device().gemm());
        String written = parse(yaml, "device.tf32=false", "device.gemm=gatun", "device.convolution=cudnn").toYaml();
        assertTrue(written.contains("gemm: gatun") && written.contains("convolution: cudnn"), written);
        assertEquals(written, parse(written).toYaml());
    }

    @Test
    void anotherMethodReplacesTheWholeSection() {
        String yaml = WHOLE.replace("{name: pull}", "{name: gone, prototypes: 3}");
        assertEquals("pull", PipelineReader.parse(yaml, "some.yaml", List.of(), "pull").method().name());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            speed=1               | some.yaml: speed: unknown key; known keys: version, seed, device, precision, data,
            model.depth=2         | some.yaml: model.depth: unknown key; known keys: name, width
            data.bach=2           | some.yaml: data.bach: unknown key; known keys: name, batch, accumulate, images
            views.crops.0.rol=2   | some.yaml: views.crops.0.rol: unknown key; known keys: role, count
            model.width=wide      | some.yaml: model.width: expected an integer, got wide
            model.width=2.5       | some.yaml: model.width: expected an integer, got 2.5
            device.tf32=true      | some.yaml: device: tf32: only the libraries of a cuda device round to TF32
            device.convolution=cudnn | some.yaml: device: convolution: cudnn is for cuda devices, the device is cpu
            device.gemm=gatun     | some.yaml: device: gemm: gatun is the kernel of CUDA devices; the cpu has the library oneDNN
            device.gemm=mkl       | some.yaml: device.gemm: expected one of library, gatun, got mkl
            model.width=1e12      | some.yaml: model.width: expected an integer of at most 31 bits, got
            optimizer.lr=.nan     | some.yaml: optimizer.lr: expected a finite number, got
            optimizer.lr=-1       | some.yaml: optimizer: lr: expected at least 0, got -1
            views.noise=-1        | some.yaml: views: noise: expected at least 0, got -1.0
            views.crops=3         | some.yaml: views.crops: expected a list, got 3
            model=[1]             | some.yaml: model: expected a mapping of keys to values, got [1]
            method.name=swop      | some.yaml: method.name: unknown name swop; known names:
            schedule.epochs=0     | some.yaml: schedule: epochs: expected at least 1, got 0
            schedule.name=zigzag  | some.yaml: schedule: name: no schedule zigzag; known schedules: cosine
            device.name=gpu       | some.yaml: device: name: no device gpu; known devices: cpu
            precision=f16         | some.yaml: precision: no precision f16; known precisions: f32, bf16
            precision=bf16        | some.yaml: precision: the cpu computes in f32; bf16 is for the devices cuda and emulated
            version=2             | some.yaml: version: 2 is not a version this library reads; it reads 1
            evaluation.k=2        | some.yaml: evaluation.k: unknown key; known keys: features, neighbours
            data.batch=0          | some.yaml: data: batch: expected at least 1, got 0
            views.crops.7.count=1 | --set views.crops.7.count=1: the list has elements 0 to 1, not 7
            seed.a=1              | --set seed.a=1: seed is a single value, it has no key a
            justtext              | --set justtext: expected key=value
            """)
    void errorsAreOneLineThatNamesThePlace(String override, String message) {
        String error = error(WHOLE, override);
        assertTrue(error.startsWith(message), error);
    }

    @Test
    void brokenYamlNamesItsLine() {
        String broken = error("version: 1\nseed: [1, 2\nx: y: z\n");
        assertTrue(broken.startsWith("some.yaml: line ") && broken.contains("not YAML"), broken);
        String twice = error("version: 1\nversion: 1\n");
        assertTrue(twice.contains("not YAML"), twice);
        assertTrue(error("seed: 1\n").contains("version: missing"));
        assertTrue(error("").contains("version: missing"));
        assertTrue(error("version: 1\n").contains("data.name: missing; known names: "));
    }

    @Test
    void aMissingFileIsOneLine() {
        LearningException e =
                assertThrows(LearningException.class, () -> PipelineReader.read(Path.of("/no/such.yaml"), List.of()));
        assertEquals("/no/such.yaml: no such file", e.getMessage());
    }

    @Test
    void theScheduleFollowsTheSettings() {
        var schedule = new ScheduleSettings("cosine", 4, 0, 1, .5, .1, .3).schedule(2, 10);
        assertEquals(1.0, schedule.at(0), 1e-6);
        assertEquals(1.5, schedule.at(5), 1e-6);
        assertEquals(2.0, schedule.at(10), 1e-6);
        assertEquals(1.1, schedule.at(25), 1e-6);
        assertEquals(2.0, new ScheduleSettings("constant", 4, 0, 0, 0, 0, .3).schedule(2, 10).at(39), 0);
    }
}
