// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning;

/** Hears how a run goes on, on the run's own thread. A command draws its progress bar with it. */
public interface ProgressListener {
    /** Hears nothing. */
    ProgressListener SILENT = new ProgressListener() {};

    /**
     * Something that takes a while starts: training, an evaluation of some features, the report.
     *
     * @param name what, in a few words
     * @param total how many units of work; 0 = unknown
     */
    default void phase(String name, long total) {}

    /**
     * Units of work of the current phase that are done.
     *
     * @param done so far
     */
    default void advanced(long done) {}

    /**
     * A training step is done.
     *
     * @param progress where the run is
     */
    default void step(Progress progress) {}

    /**
     * Something looks wrong but the run goes on.
     *
     * @param text one line
     */
    default void warning(String text) {}

    /**
     * Something worth a line: a score, a file that was written.
     *
     * @param text one line
     */
    default void message(String text) {}

    /**
     * Where a training run is after a step.
     *
     * @param step steps done
     * @param steps steps of the run
     * @param epoch the current epoch, from 0
     * @param epochs epochs of the run
     * @param loss the step's loss
     * @param lr the step's learning rate
     * @param imagesPerSecond samples a second, averaged over the last steps
     */
    record Progress(long step, long steps, int epoch, int epochs, double loss, double lr, double imagesPerSecond) {}
}
