// SPDX-License-Identifier: Apache-2.0

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * CheckSummary RUN_FOLDER, or CheckSummary DEVICE_RUN_FOLDER CPU_RUN_FOLDER: values, not presence. The first is a short run of the whole
 * experiment; its bounds are far from what it gives (see docs/results.md), yet a network that did not learn, a wrong protocol or an empty
 * report fails them. The second are two runs of one small experiment, on the emulated device and on the CPU, that end alike.
 */
public class CheckSummary {
    private static final List<String> PROBLEMS = new ArrayList<>();
    private static final String[] PROTOCOLS = {"knn", "linear", "shot10"};

    public static void main(String[] arguments) throws Exception {
        Path run = Path.of(arguments[0]);
        JsonNode summary = summary(run);
        equal(summary, "method", "swav");
        for (String key : List.of("threads", "images", "epochs", "seconds_train", "images_per_second")) {
            within(summary, key, 1, 1e7);
        }
        if (arguments.length > 1) {
            againstCpu(summary, summary(Path.of(arguments[1])));
        } else {
            learned(summary);
        }
        String report = Files.readString(run.resolve("report.html"));
        check(report.length() > 100_000 && report.contains("data:image/png"), "report.html has no pictures");
        check(!report.matches("(?s).*(src|href)=\"https?://.*"), "report.html refers to the network");
        for (String file : List.of("config.yaml", "metrics.jsonl", "checkpoint.safetensors")) {
            check(Files.size(run.resolve(file)) > 0, file + " is empty");
        }
        PROBLEMS.forEach(System.err::println);
        System.out.println(run + "/summary.json: "
                + (PROBLEMS.isEmpty() ? "every value within its bounds" : PROBLEMS.size() + " values out of bounds"));
        System.exit(PROBLEMS.isEmpty() ? 0 : 1);
    }

    private static JsonNode summary(Path run) throws Exception {
        return JsonMapper.builder().build().readTree(Files.readString(run.resolve("summary.json")));
    }

    private static void learned(JsonNode summary) {
        equal(summary, "device", "cpu");
        JsonNode scores = summary.path("scores");
        double[][] pixels = {{84.6, .5}, {84.6, .5}, {71.3, .5}};
        for (int i = 0; i < PROTOCOLS.length; i++) {
            within(scores.path("pixels"), PROTOCOLS[i], pixels[i][0] - pixels[i][1], pixels[i][0] + pixels[i][1]);
            within(scores.path("random"), PROTOCOLS[i], 50, 90);
        }
        double random = scores.path("random").path("knn").asDouble();
        within(scores.path("trained"), "knn", Math.max(81, random + 2.5), 100);
        within(scores.path("trained"), "shot10", Math.max(63, scores.path("random").path("shot10").asDouble() + 3), 100);
        within(summary, "loss_first", Math.log(100) - .6, Math.log(100) + .6);
        within(summary, "loss_last", 0, Math.log(100) - .1);
    }

    // the first loss differs by rounding; sixty steps multiply that, and a score moves by single images of a thousand
    private static void againstCpu(JsonNode summary, JsonNode cpu) {
        equal(summary, "device", "emulated");
        equal(cpu, "device", "cpu");
        equal(summary, "precision", "f32");
        // the first update is computed operation by operation, and one where the prototypes' freeze ends
        within(summary, "launched_updates", summary.path("steps").asInt() - 5, summary.path("steps").asInt());
        near(summary, cpu, "loss_first", 1e-5 * cpu.path("loss_first").asDouble());
        near(summary, cpu, "loss_last", 1e-2 * cpu.path("loss_last").asDouble());
        within(summary, "loss_last", 0, summary.path("uninformed_loss").asDouble() - .2);
        for (String features : List.of("pixels", "random", "trained")) {
            for (String protocol : PROTOCOLS) {
                near(summary.path("scores").path(features), cpu.path("scores").path(features), protocol, 2);
            }
        }
    }

    private static void near(JsonNode node, JsonNode other, String key, double distance) {
        double expected = other.path(key).asDouble(Double.NaN);
        within(node, key, expected - distance, expected + distance);
    }

    private static void equal(JsonNode node, String key, String expected) {
        check(node.path(key).asString("").equals(expected), key + " is " + node.path(key) + ", expected " + expected);
    }

    private static void within(JsonNode node, String key, double low, double high) {
        double value = node.path(key).asDouble(Double.NaN);
        check(value >= low && value <= high, key + " is " + node.path(key) + ", expected " + low + " to " + high);
    }

    private static void check(boolean holds, String problem) {
        if (!holds) {
            PROBLEMS.add(problem);
        }
    }
}
