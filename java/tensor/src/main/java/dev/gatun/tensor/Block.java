// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** One piece of memory on loan from the allocator. A new object a loan, so that a stale tensor sees a dead block, not a reused one. */
final class Block {
    final MemorySegment memory;
    /** Whose memory it is; null for memory that a recorded step keeps. */
    private final @Nullable Allocator allocator;
    /** Who gives it back; null once given back. */
    @Nullable Scope owner;
    /** Place in the owner's list. */
    int index;
    /** Gradients in flight that use it, counted during one backward sweep only. */
    int uses;
    /** Recorded functions whose backward reads it. */
    int savers;
    /** Whether nobody else uses it any more. */
    boolean discarded;

    /** Computes the same contents again; null where nobody said how. */
    @Nullable Remake remake;

    Block(MemorySegment memory, @Nullable Allocator allocator) {
        this.memory = memory;
        this.allocator = allocator;
    }

    static Block from(Allocator allocator, long bytes) {
        return new Block(allocator.allocate(bytes), allocator);
    }

    void giveBack() {
        owner = null;
        if (allocator != null) {
            allocator.release(memory);
        }
    }
}
