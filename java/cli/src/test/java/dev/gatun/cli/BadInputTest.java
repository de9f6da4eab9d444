// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.Metrics;
import dev.gatun.learning.Pretraining;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.checkpoint.Safetensors;
import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whatever is wrong with what a user gives: status 1 and one line that names what and where. */
class BadInputTest {
    @TempDir
    Path folder;

    private Path config;
    private Path run;

    @BeforeEach
    void prepare() throws IOException {
        config = Tiny.config(folder, 1);
        run = folder.resolve("run");
    }

    private Gatun.Result pretrain(String... more) {
        List<String> arguments = new ArrayList<>(List.of("pretrain", config.toString(), "--out", run.toString()));
        arguments.addAll(List.of(more));
        return Gatun.here(arguments.toArray(String[]::new));
    }

    private Gatun.Result set(String setting) {
        return pretrain("--set", setting);
    }

    private void trained() {
        assertEquals(0, set("evaluation.features=[trained]").status());
    }

    @Test
    void idxFiles() throws IOException {
        Path images = folder.resolve("train-images");
        set("data.train_images=" + folder.resolve("none")).failsInOneLine(folder.resolve("none").toString(), "no such file");
        set("data.train_images=" + folder.resolve("train-labels")).failsInOneLine("train-labels", "wrong magic 00000801");
        set("data.train_labels=" + folder.resolve("test-labels")).failsInOneLine("test-labels", "40 labels", "96 images");
        set("data.train_images=" + folder).failsInOneLine(folder.toString(), "not a readable file");
        set("data.train_images=").failsInOneLine("data.train_images", "is not set");
        byte[] bytes = Files.readAllBytes(images);
        for (int length : new int[] {0, 3, 11, 16, bytes.length - 1}) {
            Files.write(images, Arrays.copyOf(bytes, length));
            pretrain().failsInOneLine(images.toString(), "truncated");
        }
        Files.write(images, Arrays.copyOf(bytes, bytes.length + 1));
        pretrain().failsInOneLine(images.toString(), "holds more than");
        assertFalse(Files.exists(run.resolve(Trainer.CHECKPOINT)), "nothing was started");
    }

    @Test
    void imageFolders() throws IOException {
        Path images = Files.createDirectories(folder.resolve("images"));
        String data = "data={name: image-folder, batch: 12, path: " + images + "}";
        set(data).failsInOneLine(images.toString(), "holds no images");
        set(data.replace("images}", "nowhere}")).failsInOneLine("nowhere", "no such folder");
        for (int i = 0; i < 11; i++) {
            Files.write(images.resolve(i + ".bmp"), bitmap(i));
        }
        // the header of a JPEG, and nothing after it
        Path broken = images.resolve("broken.jpg");
        Files.write(broken, new byte[] {(byte) 0xff, (byte) 0xd8, (byte) 0xff, (byte) 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1});
        set(data).failsInOneLine(broken.toString(), "broken image");
        Files.write(broken, new byte[0]);
        set(data).failsInOneLine(broken.toString(), "0 bytes");
        Files.delete(broken);
        Files.write(images.resolve("11.bmp"), bitmap(11));
        Gatun.Result good = set(data);
        assertEquals(0, good.status(), good.err());
        assertTrue(good.out().contains("no scores: the data have no labels"), good.out());
    }

    // 8 x 8 pixels, 24 bits, uncompressed
    private static byte[] bitmap(int number) {
        ByteBuffer bytes = ByteBuffer.allocate(54 + 3 * 64).order(ByteOrder.LITTLE_ENDIAN);
        bytes.put((byte) 'B').put((byte) 'M').putInt(bytes.capacity()).putInt(0).putInt(54);
        bytes.putInt(40).putInt(8).putInt(8).putShort((short) 1).putShort((short) 24).putInt(0).putInt(3 * 64);
        bytes.position(54);
        for (int p = 0; p < 3 * 64; p++) {
            bytes.put((byte) (p * (number + 3)));
        }
        return bytes.array();
    }

    @Test
    void pipelineFiles() throws IOException {
        set("epochs=3").failsInOneLine("tiny.yaml: epochs: unknown key; known keys: version, seed");
        set("method.prototype=3").failsInOneLine("method.prototype: unknown key", "prototypes");
        set("views.crops.1.sise=6").failsInOneLine("views.crops.1.sise: unknown key", "blur_kernel");
        set("views.crops.0.size=large").failsInOneLine("views.crops.0.size: expected an integer, got large");
        set("views.crops.0.blur_kernel=4").failsInOneLine("views.crops.0: blur_kernel is 4");
        set("views.crops.7.size=4").failsInOneLine("the list has elements 0 to 1, not 7");
        set("model.widths=[null]").failsInOneLine("model.widths.0: empty");
        set("model.widths=[8, -1]").failsInOneLine("model: widths", "-1");
        set("model.name=transformer").failsInOneLine("model.name: unknown name transformer; known names: convnet");
        set("optimizer.lr=fast").failsInOneLine("optimizer.lr: expected a finite number, got fast");
        set("method.temperature=0").failsInOneLine("method: temperature: expected more than 0, got 0");
        set("schedule.epochs=0").failsInOneLine("schedule: epochs: expected at least 1, got 0");
        set("data.batch=97").failsInOneLine("data.batch: an epoch of 96 samples has no update of 1 x 97");
        set("seed=99999999999999999999").failsInOneLine("seed: expected an integer");
        set("device.name=tpu").failsInOneLine("device: name: no device tpu; known devices: cpu, cuda, cuda:N, emulated");
        set("device.name=cuda:999").failsInOneLine();  // no library, no driver or no such device
        set("version=2").failsInOneLine("version: 2 is not a version this library reads");
        set("views=5").failsInOneLine("views: expected a mapping");
        set("seed").failsInOneLine("--set seed: expected key=value");
        set("checkpoint.backbone=" + config).failsInOneLine(config + ": damaged or truncated");
        for (String text : List.of("a: [1, 2\nb: }", "seed: 1\nseed: 2\n", "- 1\n", "", "\u0000", "a: &a [*a]", "{{{{", "? [a]\n: 1\n")) {
            Files.writeString(config, text);
            pretrain().failsInOneLine("tiny.yaml: ");
        }
        Files.write(config, new byte[] {(byte) 0xff, (byte) 0xfe, 0x12, (byte) 0xd8});
        pretrain().failsInOneLine("tiny.yaml: cannot be read: not a text in UTF-8");
        Gatun.here("pretrain", folder.toString(), "--out", run.toString()).failsInOneLine("Is a directory");
    }

    @Test
    void fewerSamplesThanPrototypesIsWarnedOfAtTheStartAndWhileTraining() {
        // an epoch has 6 steps of 2 x 16 codes: at most 192 of 400 prototypes are used
        Gatun.Result result = pretrain("--set", "method.prototypes=400", "--set", "evaluation.features=[trained]");
        assertEquals(0, result.status(), result.err());
        List<String> lines = result.err().lines().toList();
        assertEquals("warning: batch 16 and queue 0 hold fewer samples than the 400 prototypes: some will stay unused", lines.getFirst());
        assertTrue(lines.stream().anyMatch(line -> line.matches("warning: epoch 1: only \\d+ of 400 prototypes were used")), result.err());
        assertTrue(lines.stream().allMatch(line -> line.startsWith("warning: ")), result.err());
        assertFalse(set("evaluation.features=[trained]").err().contains("prototypes"), "8 prototypes are no trouble");
    }

    @Test
    void aLossThatIsNotANumber() throws IOException {
        String source = """
                import dev.gatun.learning.*;
                import dev.gatun.tensor.Tensor;
                public class Breaks implements Method {
                    private dev.gatun.tensor.layer.Encoder encoder;
                    public void build(MethodBuild build) { encoder = build.encoder(); }
                    public Tensor loss(dev.gatun.data.Batch batch, Step step) {
                        Tensor a = encoder.forward(step.pass(), batch.views().get(0).images());
                        Tensor b = encoder.forward(step.pass(), batch.views().get(1).images());
                        Tensor loss = a.sub(b).square().mean();
                        return step.index() < 8 ? loss : loss.add(-100f).log();
                    }
                }
                """;
        Path method = Files.writeString(folder.resolve("Breaks.java"), source);
        Gatun.Result result = pretrain("--method", method.toString(), "--set", "schedule.epochs=2");
        result.failsInOneLine("step 9: ", "is NaN", "first not finite: " + method + ":10: Log", "not updated", "last good checkpoint is that of step 6",
                run.resolve(Trainer.CHECKPOINT).toString());
        // that checkpoint is intact: a mended method goes on from it
        Files.writeString(method, source.replace("< 8", "< 800"));
        Gatun.Result mended = Gatun.here("pretrain", "--resume", "--out", run.toString());
        assertEquals(0, mended.status(), mended.err());
        assertTrue(mended.out().contains("resumed at step 6 of 12"), mended.out());
        // and ends as if nothing had been
        Path whole = folder.resolve("whole");
        assertEquals(0, Gatun.here("pretrain", run.resolve(Trainer.CONFIG).toString(), "--out", whole.toString()).status());
        assertArrayEquals(Files.readAllBytes(whole.resolve(Trainer.CHECKPOINT)), Files.readAllBytes(run.resolve(Trainer.CHECKPOINT)));
    }

    @Test
    void mistakesInAMethodNameItsLine() throws IOException {
        Path method = folder.resolve("Mine.java");
        String source = """
                import dev.gatun.learning.*;
                import dev.gatun.tensor.Tensor;
                public class Mine implements Method {
                    private dev.gatun.tensor.layer.Encoder encoder;
                    public void build(MethodBuild build) { encoder = build.encoder(); }
                    public Tensor loss(dev.gatun.data.Batch batch, Step step) {
                        Tensor a = encoder.forward(step.pass(), batch.views().get(0).images());
                        return LOSS;
                    }
                }
                """;
        List<String[]> mistakes = List.of(
                new String[] {"a.matmul(a).sum()", method + ":8: matmul"},
                new String[] {"batch.views().get(7).images()", method + ":8: ", "IndexOutOfBounds: Index 7"},
                new String[] {"step.metrics().get(\"none\") > 0 ? a : a", method + ":8: NullPointer: Cannot invoke"},
                new String[] {"null", "the loss of " + method + " is null"},
                new String[] {"a.sum(0)", "the loss of " + method, "not a single value"},
                new String[] {"a.sum().detach()", "the loss of " + method + " has no gradient"});
        for (String[] mistake : mistakes) {
            Files.writeString(method, source.replace("LOSS", mistake[0]));
            pretrain("--method", method.toString())
                    .failsInOneLine(Arrays.copyOfRange(mistake, 1, mistake.length));
        }
        Files.writeString(method, source.replace("LOSS", "a.sum()")
                .replace("encoder = build.encoder()", "build.parameters().state(\"s\", 0f, 2).value()"));
        pretrain("--method", method.toString()).failsInOneLine(method + ":5: state s has no memory yet");
    }

    @Test
    void outputFoldersThatCannotBeWritten() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "in the way");
        Gatun.here("pretrain", config.toString(), "--out", "/proc/gatun").failsInOneLine("/proc/gatun: cannot be created");
        Gatun.here("pretrain", config.toString(), "--out", file.toString()).failsInOneLine(file + ": cannot be created: a file of that name");
        Gatun.here("pretrain", config.toString(), "--out", file.resolve("run").toString()).failsInOneLine("cannot be created");
        Files.createDirectories(run.resolve(Trainer.CHECKPOINT).resolve("in the way"));
        pretrain().failsInOneLine(run.resolve(Trainer.CHECKPOINT) + ": cannot be replaced");
        if (!System.getProperty("user.name").equals("root")) { // whom no permission stops
            Path closed = Files.createDirectories(folder.resolve("closed"));
            assertTrue(closed.toFile().setWritable(false));
            Gatun.here("pretrain", config.toString(), "--out", closed.toString()).failsInOneLine(closed + ": cannot be written");
        }
    }

    @Test
    void aFolderThatAnotherRunWritesInto() throws Exception {
        Gatun first = Gatun.start(folder, "pretrain", config.toString(), "--out", run.toString(), "--set", "schedule.epochs=100000")
                .until(run.resolve(Metrics.FILE));
        pretrain().failsInOneLine(run + ": another run writes into this folder");
        first.signal("KILL");
        assertEquals(137, first.end().status());
        assertEquals(0, set("evaluation.features=[trained]").status(), "a killed run keeps nobody out");
        assertFalse(Files.exists(run.resolve("run.lock")));
    }

    @Test
    void aFullDisk() throws Exception {
        // a limit on a file's size fails a write where a full disk does; the program must not die of the signal for it
        Files.writeString(config, Files.readString(config).replace("epochs: 1}", "epochs: 60}"));
        String[] command = {"pretrain", config.toString(), "--out", run.toString(), "--set", "evaluation.features=[trained]"};
        Gatun.start(folder, limited(4), command).end().failsInOneLine(Trainer.CHECKPOINT + ": cannot be written: File too large");
        assertFalse(Files.exists(run.resolve(Trainer.CHECKPOINT)));
        assertFalse(Files.exists(run.resolve(Trainer.CHECKPOINT + ".tmp")), "no half-written file remains");

        // one that the metrics of 360 steps reach, but no checkpoint
        Gatun.start(folder, limited(40), command).end().failsInOneLine(Metrics.FILE + ": cannot be written: File too large");
        Safetensors.Content last = Safetensors.read(run.resolve(Trainer.CHECKPOINT));
        int step = Integer.parseInt(last.metadata().get("step"));
        assertTrue(step > 0 && step < 360, "the last good checkpoint is of step " + step);

        // with room again the run goes on, to the end of one that never stopped
        Gatun.Result resumed = Gatun.here("pretrain", "--resume", "--out", run.toString());
        assertEquals(0, resumed.status(), resumed.err());
        Path whole = folder.resolve("whole");
        command[3] = whole.toString();
        assertEquals(0, Gatun.here(command).status());
        assertArrayEquals(Files.readAllBytes(whole.resolve(Trainer.CHECKPOINT)), Files.readAllBytes(run.resolve(Trainer.CHECKPOINT)));
        assertEquals(360, Metrics.read(run).size());
    }

    private static List<String> limited(int kibibytes) {
        return List.of("bash", "-c", "ulimit -f " + kibibytes + "; exec \"$0\" \"$@\"");
    }

    @Test
    void checkpoints() throws IOException {
        Gatun.here("pretrain", config.toString(), "--resume", "--out", run.toString()).failsInOneLine(run.toString(), "no run to resume");
        Gatun.here("pretrain", "--resume", "--out", run.toString()).failsInOneLine("config.yaml: no such file");
        trained();
        Path file = run.resolve(Trainer.CHECKPOINT);
        byte[] good = Files.readAllBytes(file);
        String path = file.toString();
        List<String[]> commands = List.of(
                new String[] {"pretrain", "--resume", "--out", run.toString()},
                new String[] {"evaluate", run.toString()},
                new String[] {"embed", run.toString(), "--out", folder.resolve("x.npy").toString()});
        for (String[] command : commands) {
            for (int length : new int[] {0, 7, 100, good.length / 2, good.length - 1}) {
                Files.write(file, Arrays.copyOf(good, length));
                Gatun.here(command).failsInOneLine(path, "damaged or truncated");
            }
            for (int at : new int[] {0, 9, 40, good.length / 2, good.length - 1}) {
                byte[] flipped = good.clone();
                flipped[at] ^= 4;
                Files.write(file, flipped);
                Gatun.here(command).failsInOneLine(path);
            }
            Files.write(file, good);
            Safetensors.Content content = Safetensors.read(file);
            Map<String, String> metadata = new LinkedHashMap<>(content.metadata());
            metadata.put("version", "2");
            Safetensors.write(file, metadata, List.copyOf(content.entries().values()));
            Gatun.here(command).failsInOneLine(path, "of version 2; this library reads version 1");
            Files.write(file, good);
            List<String> other = new ArrayList<>(List.of(command));
            other.addAll(List.of("--set", "model.widths=[4, 9]"));
            Gatun.here(other.toArray(String[]::new)).failsInOneLine(path, "of another architecture", "backbone.conv2.weight", "9");
            other.set(other.size() - 1, "model.widths=[4, 4, 8]");
            Gatun.here(other.toArray(String[]::new)).failsInOneLine(path, "of another architecture");
        }
        pretrain("--resume", "--set", "seed=6").failsInOneLine(path, "a run with seed 5 cannot be resumed with 6");
        assertArrayEquals(good, Files.readAllBytes(file), "no refusal touches the file");
        assertFalse(Files.exists(folder.resolve("x.npy")));
        Gatun.Result changed = pretrain("--resume", "--set", "optimizer.lr=0.5");
        assertEquals(0, changed.status(), changed.err());
        assertTrue(changed.err().startsWith("warning: resumed with optimizer.lr 0.5 instead of 0.002"), changed.err());
    }

    @Test
    void methodFiles() throws IOException {
        Path method = folder.resolve("Mine.java");
        pretrain("--method", method.toString()).failsInOneLine(method + ": no such file");
        Files.writeString(method, "public class Mine {\n    int x = ;\n}\n");
        pretrain("--method", method.toString()).failsInOneLine(method + ":2: illegal start of expression");
        Files.writeString(method, "public class Mine implements dev.gatun.learning.Method {}\n");
        pretrain("--method", method.toString()).failsInOneLine(method + ":1: ", "not abstract");
        Files.writeString(method, "public class Mine {}\n");
        pretrain("--method", method.toString()).failsInOneLine("expected one class that implements dev.gatun.learning.Method");
        pretrain("--method", "mine").failsInOneLine("method.name: unknown name mine; known names: ");
    }

    @Test
    void memoryThatIsNotThere() throws Exception {
        // within an address space that a JVM just fits in, so that no machine is brought down
        List<String> limited = List.of("bash", "-c", "ulimit -v 8000000; exec \"$0\" \"$@\"");
        String[] command = {"pretrain", config.toString(), "--out", "run", "--set", "method.prototypes=500000000"};
        Gatun.start(folder, limited, command).end().failsInOneLine("device cpu has no room for", "are free, in pieces or beyond a limit of the process");
        command[5] = "views.crops.0.count=500000000";
        Gatun.start(folder, limited, command).end().failsInOneLine("out of memory", "GATUN_HEAP");
        assertFalse(Files.exists(run.resolve(Summary.FILE)));
        assertFalse(Files.exists(run.resolve(Pretraining.BACKBONE)));
    }
}
