// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/**
 * Memory of a context and of its device, in bytes. What drivers, contexts and code take is in {@code deviceFree} only.
 *
 * @param allocated by {@link NativeMemory#allocate} in this context and not freed
 * @param hostAllocated by {@link NativeMemory#allocateHost} in this context and not freed
 * @param limit of {@code allocated}, 0 if there is none
 * @param deviceFree what the device, or the machine, has left for all processes
 * @param deviceTotal what it has
 */
public record MemoryUsage(long allocated, long hostAllocated, long limit, long deviceFree, long deviceTotal) {}
