// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.util.function.BooleanSupplier;

/** Ctrl-C asks the run to stop; the program ends when it has written its checkpoint, if one is due. */
final class Interruption {
    private final Object done = new Object();
    private final Thread hook;
    private boolean over;

    Interruption(BooleanSupplier requestStop) {
        hook = new Thread(() -> {
            if (!requestStop.getAsBoolean()) {
                return;
            }
            synchronized (done) {
                while (!over) {
                    try {
                        done.wait();
                    } catch (InterruptedException e) {
                        return;
                    }
                }
            }
        });
        Runtime.getRuntime().addShutdownHook(hook);
    }

    void finished() {
        synchronized (done) {
            over = true;
            done.notifyAll();
        }
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The program is ending already, because of Ctrl-C.
        }
    }
}
