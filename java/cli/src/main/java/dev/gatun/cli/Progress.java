// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import dev.gatun.learning.ProgressListener;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Locale;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;

/**
 * Shows how a run goes on: a bar with rate and time left on a terminal, else a line now and then, so that a log stays readable.
 */
final class Progress implements ProgressListener, AutoCloseable {
    private static final Duration BETWEEN_LINES = Duration.ofSeconds(10);
    private static final int USUAL_COLUMNS = 80;

    private final PrintWriter out;
    private final PrintWriter err;
    private final boolean terminal = System.console() != null && System.console().isTerminal();
    private final int columns = terminal ? columns() : 0;
    private @Nullable ProgressBar bar;
    private String phase = "";
    private long total;
    private long started;
    private long before;
    private long printed;

    Progress(PrintWriter out, PrintWriter err) {
        this.out = out;
        this.err = err;
    }

    @Override
    public void phase(String name, long work) {
        endBar();
        phase = name;
        total = work;
        started = System.nanoTime();
        printed = started;
        before = -1;
        if (terminal && work > 0) {
            bar = bar(0);
        } else {
            out.println(name);
            out.flush();
        }
    }

    private ProgressBar bar(long from) {
        return new ProgressBarBuilder()
                .setTaskName(phase)
                .setInitialMax(total)
                .startsFrom(from, Duration.ZERO)
                .setStyle(ProgressBarStyle.UNICODE_BLOCK)
                .setUpdateIntervalMillis(200)
                .setConsumer(new ConsoleProgressBarConsumer(System.err, columns))
                .build();
    }

    // a resumed run did its first steps before: they say nothing about the time left
    private void resumed(long step) {
        if (before < 0) {
            before = step - 1;
            if (before > 0 && bar != null) {
                endBar();
                bar = bar(before);
            }
        }
    }

    @Override
    public void advanced(long done) {
        ProgressBar current = bar;
        if (current != null) {
            current.stepTo(done);
        } else if (due(done)) {
            line(String.format(Locale.ROOT, "%s %d/%d%s", phase, done, total, left(done)));
        }
    }

    @Override
    public void step(ProgressListener.Progress progress) {
        String state = String.format(Locale.ROOT, "loss %.3f  %,.0f images/s", progress.loss(), progress.imagesPerSecond());
        if (bar == null || columns >= 100) {
            state = String.format(Locale.ROOT, "epoch %d/%d  ", progress.epoch() + 1, progress.epochs()) + state;
        }
        resumed(progress.step());
        ProgressBar current = bar;
        if (current != null) {
            current.setExtraMessage(state);
            current.stepTo(progress.step());
        } else if (due(progress.step())) {
            line(String.format(Locale.ROOT, "step %d/%d  %s%s", progress.step(), progress.steps(), state, left(progress.step())));
        }
    }

    @Override
    public void warning(String text) {
        pause();
        err.println("warning: " + text);
        err.flush();
    }

    @Override
    public void message(String text) {
        pause();
        out.println(text);
        out.flush();
    }

    @Override
    public void close() {
        endBar();
    }

    private boolean due(long done) {
        long now = System.nanoTime();
        if (now - printed < BETWEEN_LINES.toNanos() && done != total) {
            return false;
        }
        printed = now;
        return true;
    }

    private String left(long done) {
        long here = done - Math.max(before, 0);
        if (total == 0 || here <= 0 || done >= total) {
            return "";
        }
        long seconds = Math.round((System.nanoTime() - started) / 1e9 / here * (total - done));
        return String.format(Locale.ROOT, "  %d:%02d left", seconds / 60, seconds % 60);
    }

    private void line(String text) {
        out.println(text);
        out.flush();
    }

    // Asked of stty: the bar's own way, through JLine, takes the handler of Ctrl-C away from the JVM, which then dies without
    // its shutdown hooks and without a checkpoint.
    private static int columns() {
        try {
            Process stty = new ProcessBuilder("stty", "size")
                    .redirectInput(ProcessBuilder.Redirect.INHERIT)
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            String[] size = new String(stty.getInputStream().readAllBytes(), StandardCharsets.US_ASCII).strip().split(" ");
            int wide = size.length == 2 ? Integer.parseInt(size[1]) : 0;
            return wide > 0 ? wide : USUAL_COLUMNS;
        } catch (IOException | NumberFormatException e) {
            return USUAL_COLUMNS;
        }
    }

    // A line between two drawings of the bar would be drawn over.
    private void pause() {
        if (bar != null) {
            System.err.print("\r\u001b[K");
        }
    }

    private void endBar() {
        ProgressBar current = bar;
        if (current != null) {
            current.close();
            bar = null;
        }
    }
}
