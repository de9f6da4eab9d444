// SPDX-License-Identifier: Apache-2.0
/**
 * @file memory.h
 * Memory of a device, pinned memory of the host, and copies between them.
 */
#ifndef GATUN_MEMORY_H
#define GATUN_MEMORY_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Memory of a context and of its device, in bytes. What drivers, contexts and modules take is in `device_free` only. */
typedef struct gatun_memory_usage {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t allocated;      /**< of gatun_memory_allocate in this context, not freed */
  uint64_t host_allocated; /**< of gatun_memory_allocate_host in this context, not freed */
  uint64_t limit;          /**< `memory_limit` of the context, 0 if it has none */
  uint64_t device_free;    /**< what the device, or the machine, has left for all processes */
  uint64_t device_total;   /**< what it has */
} gatun_memory_usage;

/** What an address is. */
enum {
  GATUN_MEMORY_HOST = 0,   /**< host memory that the device does not reach, as far as the library knows */
  GATUN_MEMORY_PINNED = 1, /**< host memory that the device reaches */
  GATUN_MEMORY_DEVICE = 2  /**< memory of a device, which the host may not touch. CPU: never */
};

/**
 * Allocates device memory, aligned to 64 bytes (2 MiB and asked to be huge pages when large). Contents are undefined.
 * GATUN_OUT_OF_MEMORY, with the bytes asked, allocated and left, if the device or the context's limit has no room; nothing else changes.
 * @param bytes size; 0 gives a valid pointer that must not be read
 */
GATUN_API gatun_status gatun_memory_allocate(gatun_context* context, size_t bytes, void** memory, gatun_error* error);

/**
 * Frees memory of gatun_memory_allocate of this context, which is checked; CUDA waits for the device first. NULL is allowed.
 */
GATUN_API gatun_status gatun_memory_free(gatun_context* context, void* memory, gatun_error* error);

/**
 * Allocates host memory that copies reach without a detour, so that they overlap what else the host and the device do; aligned to 64 bytes.
 * It is dear to make and cannot be swapped out: for buffers that are used again. CPU: plain memory. Not counted by `memory_limit`.
 */
GATUN_API gatun_status gatun_memory_allocate_host(gatun_context* context, size_t bytes, void** memory, gatun_error* error);

/** Frees memory of gatun_memory_allocate_host of this context, which is checked; no copy may be using it. NULL is allowed. */
GATUN_API gatun_status gatun_memory_free_host(gatun_context* context, void* memory, gatun_error* error);

/** Tells how much memory is in use. @param usage `struct_size` and `reserved` set by the caller */
GATUN_API gatun_status gatun_memory_get_usage(gatun_context* context, gatun_memory_usage* usage, gatun_error* error);

/**
 * What an address is to the context's device: for what comes from elsewhere, before an operation gets it.
 * @param kind receives GATUN_MEMORY_HOST, GATUN_MEMORY_PINNED or GATUN_MEMORY_DEVICE
 * @param device receives the ordinal of the device whose memory it is, -1 if none's
 */
GATUN_API gatun_status gatun_memory_query(gatun_context* context, const void* memory, int32_t* kind, int32_t* device, gatun_error* error);

/**
 * Copies bytes on the stream, between device memory and host memory in any direction. Host memory must live, and not be written, until
 * the stream has come so far. The two ranges must not overlap.
 */
GATUN_API gatun_status gatun_memory_copy(gatun_stream* stream, void* destination, const void* source, size_t bytes, gatun_error* error);

/** Sets every byte of device memory to 0 on the stream. */
GATUN_API gatun_status gatun_memory_clear(gatun_stream* stream, void* memory, size_t bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif
