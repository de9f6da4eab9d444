// SPDX-License-Identifier: Apache-2.0

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * CheckSummary RUN_FOLDER: values, not presence. The bounds are far from what a run on this subset gives (see docs/results.md), yet a
 * network that did not learn, a wrong protocol or an empty report fails them.
 */
public class CheckSummary {
    private static final List<String> PROBLEMS = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        Path run = Path.of(arguments[0]);
        JsonNode summary = JsonMapper.builder().build().readTree(Files.readString(run.resolve("summary.json")));
        equal(summary, "method", "swav");
        equal(summary, "device", "cpu");
        for (String key : List.of("threads", "images", "epochs", "seconds_train", "images_per_second")) {
            within(summary, key, 1, 1e7);
        }
        JsonNode scores = summary.path("scores");
        double[][] pixels = {{84.6, .5}, {84.6, .5}, {71.3, .5}};
        String[] protocols = {"knn", "linear", "shot10"};
        for (int i = 0; i < protocols.length; i++) {
            within(scores.path("pixels"), protocols[i], pixels[i][0] - pixels[i][1], pixels[i][0] + pixels[i][1]);
            within(scores.path("random"), protocols[i], 50, 90);
        }
        double random = scores.path("random").path("knn").asDouble();
        within(scores.path("trained"), "knn", Math.max(81, random + 2.5), 100);
        within(scores.path("trained"), "shot10", Math.max(63, scores.path("random").path("shot10").asDouble() + 3), 100);
        within(summary, "loss_first", Math.log(100) - .6, Math.log(100) + .6);
        within(summary, "loss_last", 0, Math.log(100) - .1);
        String report = Files.readString(run.resolve("report.html"));
        check(report.length() > 100_000 && report.contains("data:image/png"), "report.html has no pictures");
        check(!report.matches("(?s).*(src|href)=\"https?://.*"), "report.html refers to the network");
        for (String file : List.of("config.yaml", "metrics.jsonl", "checkpoint.safetensors")) {
            check(Files.size(run.resolve(file)) > 0, file + " is empty");
        }
        PROBLEMS.forEach(System.err::println);
        System.out.println(PROBLEMS.isEmpty() ? "summary.json: every value within its bounds" : PROBLEMS.size() + " values out of bounds");
        System.exit(PROBLEMS.isEmpty() ? 0 : 1);
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
