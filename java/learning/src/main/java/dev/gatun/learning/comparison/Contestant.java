// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.comparison;

import dev.gatun.learning.LearningException;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.pipeline.Methods;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.pipeline.PipelineReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * A pipeline that is compared with others.
 *
 * @param name the pipeline file's, with the method's if another one was given; a run's folder is named so
 * @param pipeline the experiment
 * @param command the arguments of {@code gatun pretrain} that it stands for, without seed, length and folder
 * @param source a digest of the method's own {@code .java} file; empty for a method of the library
 */
public record Contestant(String name, Pipeline pipeline, List<String> command, String source) {
    /**
     * Reads a contestant.
     *
     * @param text a pipeline file, or {@code FILE.yaml:METHOD} with another method for it: a name or a {@code .java} file
     * @param overrides settings of the form {@code a.b=value}
     * @throws LearningException if a file or an override is wrong; one line
     */
    public static Contestant read(String text, List<String> overrides) {
        int colon = text.lastIndexOf(".yaml:") + 5;
        if (colon < 5) {
            colon = text.lastIndexOf(".yml:") + 4;
        }
        boolean other = colon >= 4 && text.charAt(colon) == ':' && !Files.exists(Path.of(text));
        String file = other ? text.substring(0, colon) : text;
        String method = other ? text.substring(colon + 1) : "";
        Pipeline pipeline = PipelineReader.read(Path.of(file), overrides, other ? method : null);
        String name = stem(file, "\\.ya?ml") + (other ? "-" + stem(method, "\\.java") : "");
        List<String> command = new java.util.ArrayList<>(List.of(file));
        if (other) {
            command.addAll(List.of("--method", method));
        }
        overrides.forEach(override -> command.addAll(List.of("--set", override)));
        String used = pipeline.method().name();
        return new Contestant(name, pipeline, command, Methods.isFile(used) ? digest(Path.of(used)) : "");
    }

    private static String stem(String file, String ending) {
        return Path.of(file).getFileName().toString().replaceFirst(ending + "$", "");
    }

    private static String digest(Path file) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file)));
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be read"), e);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
