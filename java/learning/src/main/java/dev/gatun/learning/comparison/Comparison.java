// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.comparison;

import dev.gatun.learning.Calibration;
import dev.gatun.learning.Experiment;
import dev.gatun.learning.LearningException;
import dev.gatun.learning.Metrics;
import dev.gatun.learning.Pretraining;
import dev.gatun.learning.ProgressListener;
import dev.gatun.learning.Trainer;
import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.learning.comparison.ComparisonLog.Entry;
import dev.gatun.learning.evaluation.Floors;
import dev.gatun.learning.pipeline.Pipeline;
import dev.gatun.learning.report.ComparisonData;
import dev.gatun.learning.report.ComparisonReport;
import dev.gatun.learning.report.Summary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Runs several pipelines, each with several seeds, under one budget, and writes one report of them all. Seeds go round and
 * round: every pipeline has its first run before any has its second, so that what else the machine does falls on all. Complete
 * runs of the same settings are kept, begun ones resumed.
 */
public final class Comparison {
    private final List<Contestant> contestants;
    private final Budget budget;
    private final int seeds;
    private final Path folder;
    private final String command;
    private final ProgressListener listener;
    private final Floors floors = new Floors();
    private final Map<String, String> failures = new LinkedHashMap<>();
    private volatile boolean stopRequested;
    private volatile @Nullable Pretraining running;
    private boolean warm;
    private int done;
    private double finishing;

    private record Run(Contestant contestant, long seed, String name) {}

    /**
     * Describes a comparison; nothing is opened yet.
     *
     * @param contestants the pipelines, of different names
     * @param budget of every run
     * @param seeds runs of each pipeline: its seed, and the numbers after it
     * @param folder of the runs' folders and the report
     * @param command the command line, for the report
     * @param listener hears the progress
     * @throws LearningException if two have one name, or the budget does not pay for an update; one line
     */
    public Comparison(
            List<Contestant> contestants, Budget budget, int seeds, Path folder, String command, ProgressListener listener) {
        this.contestants = List.copyOf(contestants);
        this.budget = budget;
        this.seeds = seeds;
        this.folder = folder;
        this.command = command;
        this.listener = listener;
        if (seeds < 1) {
            throw new LearningException("compare: expected at least 1 seed, got " + seeds);
        }
        Set<String> names = new LinkedHashSet<>();
        for (Contestant contestant : contestants) {
            if (!names.add(contestant.name())) {
                throw new LearningException("compare: two pipelines have the name " + contestant.name()
                        + ", and a folder is named so; copy one of the files to another name");
            }
            if (!budget.timed()) {
                budget.steps(contestant.pipeline().batch());
            }
        }
    }

    /**
     * Asks the running training to end after the current step, with a checkpoint, and the comparison with it. May be called
     * from any thread.
     *
     * @return whether to wait for that; false where nothing is lost if the program ends now
     */
    public boolean requestStop() {
        stopRequested = true;
        Pretraining run = running;
        return run != null && run.requestStop();
    }

    /**
     * Runs what is not complete, and writes the report. A run that fails does not keep the others from running.
     *
     * @return what the report shows; empty if it was stopped
     * @throws LearningException if the folder cannot be written; one line
     */
    public Optional<ComparisonData> run() {
        AtomicFile.folder(folder);
        ComparisonLog log = ComparisonLog.open(folder);
        log.restore(floors);
        List<Run> runs = new ArrayList<>();
        for (int number = 0; number < seeds; number++) {
            for (Contestant contestant : contestants) {
                runs.add(run(contestant, number));
            }
        }
        for (Run run : runs) {
            int place = runs.indexOf(run);
            String title = "run " + (place + 1) + " of " + runs.size() + ": " + run.name();
            try {
                if (!run(run, title, runs.size() - place, log)) {
                    return Optional.empty();
                }
            } catch (RuntimeException | OutOfMemoryError e) {
                String reason = reason(e);
                failures.put(run.name(), reason);
                listener.warning(title + " failed: " + reason);
            }
        }
        listener.phase("report", 0);
        ComparisonData data = collect(log);
        AtomicFile.write(folder.resolve(ComparisonReport.FILE), ComparisonReport.render(data));
        return Optional.of(data);
    }

    private Run run(Contestant contestant, int number) {
        long seed = contestant.pipeline().seed() + number;
        return new Run(contestant, seed, contestant.name() + (seeds > 1 ? "-seed" + seed : ""));
    }

    private static String reason(Throwable e) {
        if (e instanceof OutOfMemoryError) {
            return "out of memory: " + e.getMessage();
        }
        return e.getMessage() == null ? e.toString() : e.getMessage().replaceAll("\\s*\\R\\s*", " ");
    }

    // false: stopped
    private boolean run(Run run, String title, int left, ComparisonLog log) {
        Path at = folder.resolve(run.name());
        Entry entry = entry(run, title, log);
        Pipeline pipeline = pipeline(run, entry);
        String state = entry.runs().getOrDefault(run.name(), "");
        if (state.equals(ComparisonLog.COMPLETE) && complete(at, pipeline)) {
            listener.message(title + " is complete");
            return true;
        }
        boolean resume = !state.isEmpty() && Files.exists(at.resolve(Trainer.CHECKPOINT)) && same(at, pipeline);
        log.mark(run.contestant(), run.name(), ComparisonLog.STARTED, floors);
        listener.message(title + ", " + entry.steps() + " steps" + timeLeft(left));
        Pretraining training = new Pretraining(pipeline, at, floors, listener);
        running = training;
        if (stopRequested) {
            return false;
        }
        long before = System.nanoTime();
        try {
            if (training.run(resume).isEmpty()) {
                return false;
            }
        } finally {
            running = null;
        }
        done++;
        finishing += (System.nanoTime() - before) / (double) TimeUnit.SECONDS.toNanos(1);
        log.mark(run.contestant(), run.name(), ComparisonLog.COMPLETE, floors);
        return !stopRequested;
    }

    // what the runs so far took, which is the budget and the evaluation; before the first the budget alone, if it is time
    private String timeLeft(int left) {
        double each = done > 0 ? finishing / done : budget.seconds();
        if (each == 0) {
            return "";
        }
        long seconds = Math.round(left * each);
        return String.format(Locale.ROOT, "; %s %d:%02d left in all", done > 0 ? "about" : "more than", seconds / 60, seconds % 60);
    }

    private Entry entry(Run run, String title, ComparisonLog log) {
        Contestant contestant = run.contestant();
        Entry known = log.pipelines().get(contestant.name());
        if (known != null && known.fits(budget, contestant)) {
            return known;
        }
        long steps;
        if (budget.timed()) {
            listener.phase(title + ", calibration", 0);
            Path scratch = folder.resolve(".calibration");
            if (!warm) {
                // what the JVM compiles late would make the first pipeline look slower than the others
                Calibration.measure(contestant.pipeline(), scratch, budget.seconds());
                warm = true;
            }
            steps = Calibration.measure(contestant.pipeline(), scratch, budget.seconds()).steps(budget.seconds());
        } else {
            steps = budget.steps(contestant.pipeline().batch());
        }
        Entry entry = new Entry(
                budget.text(), Entry.settings(contestant), contestant.source(), steps, new LinkedHashMap<>());
        log.pipelines().put(contestant.name(), entry);
        log.write();
        return entry;
    }

    private static Pipeline pipeline(Run run, Entry entry) {
        return run.contestant().pipeline().with(run.seed(), entry.steps());
    }

    private static boolean complete(Path at, Pipeline pipeline) {
        return Files.exists(at.resolve(Summary.FILE)) && Files.exists(at.resolve(Trainer.CHECKPOINT)) && same(at, pipeline);
    }

    private static boolean same(Path at, Pipeline pipeline) {
        try {
            return Files.readString(at.resolve(Trainer.CONFIG)).equals(pipeline.toYaml());
        } catch (IOException e) {
            return false;
        }
    }

    private ComparisonData collect(ComparisonLog log) {
        List<ComparisonData.Entrant> entrants = new ArrayList<>();
        for (Contestant contestant : contestants) {
            List<ComparisonData.Run> runs = new ArrayList<>();
            Optional<ComparisonData.Gallery> gallery = Optional.empty();
            Entry entry = log.pipelines().get(contestant.name());
            for (int number = 0; number < seeds; number++) {
                Run run = run(contestant, number);
                String name = run.name();
                Path at = folder.resolve(name);
                String failure = failures.getOrDefault(name, "");
                boolean whole = failure.isEmpty();
                runs.add(new ComparisonData.Run(
                        name, run.seed(), failure, whole ? Optional.of(Summary.read(at)) : Optional.empty(),
                        whole ? Metrics.read(at) : List.of(), command(contestant, run.seed(), entry, at)));
                if (whole && gallery.isEmpty()) {
                    try (Experiment experiment = Pretraining.restore(at, List.of())) {
                        gallery = Optional.of(ComparisonReport.gallery(experiment));
                    }
                }
            }
            entrants.add(new ComparisonData.Entrant(contestant.name(), contestant.pipeline(), runs, gallery));
        }
        return new ComparisonData(budget.text(), budget.seconds(), budget.images(), seeds, command, entrants);
    }

    private static String command(Contestant contestant, long seed, @Nullable Entry entry, Path at) {
        List<String> words = new ArrayList<>(List.of("gatun", "pretrain"));
        words.addAll(contestant.command());
        words.addAll(List.of("--set", "seed=" + seed));
        if (entry != null) {
            words.addAll(List.of("--set", "schedule.steps=" + entry.steps()));
        }
        words.addAll(List.of("--out", at.toString()));
        return shell(words);
    }

    /**
     * Words as a line for a shell.
     *
     * @param words a command and its arguments
     */
    public static String shell(List<String> words) {
        return String.join(" ", words.stream()
                .map(word -> word.matches("[A-Za-z0-9_./:=,+-]+") ? word : "'" + word.replace("'", "'\\''") + "'")
                .toList());
    }
}
