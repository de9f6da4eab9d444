// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** Hears of every call on a context's streams, and of its memory being taken and given back: for profiles. */
@FunctionalInterface
public interface CallListener {
    /** After a call, on the thread that made it. A call that failed is not told. What this throws reaches the caller. */
    void called(CallTrace call);
}
