// SPDX-License-Identifier: Apache-2.0
/**
 * @file base.h
 * The vocabulary that every Gatun operation shares: status, errors, data types, layouts, contexts and streams.
 *
 * Rules of the border:
 *  - Every function returns a ::gatun_status. Details go to the ::gatun_error that the caller passes (it may be NULL).
 *    Nothing aborts, prints or throws across this border.
 *  - A descriptor starts with `struct_size`; it holds shapes, strides, dtypes and constants. Data are separate pointers.
 *    A field `reserved` must be 0.
 *  - Workspaces belong to the caller: ask `gatun_X_workspace`, pass at least that many bytes. No operation allocates.
 *  - What changes from step to step (learning rate, random key, flags) is read through a pointer, never from a descriptor.
 *  - Operations on one stream run in order. A CPU stream runs an operation inside the call. Streams of one device know nothing of each other
 *    but what gatun_stream_wait_event tells them: memory that one has written and another reads, or that changes hands, needs an event.
 *  - Threads: different threads may use different streams, contexts and events at once, of one device as of several, and may allocate and
 *    free. One stream, event or graph belongs to one thread at a time. The emulated device does one thing at a time, whoever asks.
 */
#ifndef GATUN_BASE_H
#define GATUN_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define GATUN_API __attribute__((visibility("default")))
#else
#define GATUN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Raised whenever a struct or a signature changes; checked when a library is loaded. */
#define GATUN_ABI_VERSION 4

/** Largest number of dimensions a layout can have. */
#define GATUN_MAX_RANK 5

typedef int32_t gatun_status;
enum {
  GATUN_OK = 0,
  GATUN_INVALID_ARGUMENT = 1, /**< a shape, stride, dtype, pointer or constant that the operation does not allow */
  GATUN_UNSUPPORTED = 2,      /**< allowed in general, but not on this device */
  GATUN_OUT_OF_MEMORY = 3,
  GATUN_NO_DEVICE = 4, /**< the library is for a device that this machine does not have */
  GATUN_INTERNAL = 5   /**< a defect in Gatun */
};

/** Element types. Storage types only: all arithmetic accumulates in f32 or wider. */
enum {
  GATUN_NONE = 0, /**< an optional operand that is absent; its pointer is NULL */
  GATUN_F32 = 1,
  GATUN_BF16 = 2,
  GATUN_F16 = 3,
  GATUN_I32 = 4,
  GATUN_I64 = 5,
  GATUN_U8 = 6
};

/** What went wrong, as one line for a person. Filled only when the status is not GATUN_OK. */
typedef struct gatun_error {
  gatun_status status;
  int32_t reserved;
  char operation[56]; /**< for example "l2_normalize_forward" */
  char message[448];  /**< names the operand, what was given and what is allowed; zero-terminated */
} gatun_error;

/** Shape and element strides of one operand. Unused entries are zero. The last dimension has stride 1. */
typedef struct gatun_layout {
  int32_t dtype;
  int32_t rank;
  int64_t shape[GATUN_MAX_RANK];
  int64_t stride[GATUN_MAX_RANK]; /**< in elements */
} gatun_layout;

/** Key of every random decision: the numbers drawn are a function of (seed, step, stream, sample id, index). */
typedef struct gatun_random_key {
  uint64_t seed;
  uint64_t step;
  uint32_t stream; /**< separates the uses of randomness within a step */
  uint32_t reserved;
} gatun_random_key;

typedef struct gatun_context gatun_context;
typedef struct gatun_stream gatun_stream;
typedef struct gatun_event gatun_event;
typedef struct gatun_graph gatun_graph;

typedef struct gatun_context_desc {
  uint32_t struct_size;
  int32_t threads;  /**< CPU: number of OpenMP threads, 1 to 1024; 0 means all that the process may use. CUDA: not looked at */
  int32_t device;   /**< CUDA: ordinal of the device, from 0. CPU: 0 */
  uint32_t flags;   /**< a sum of GATUN_CONTEXT_..., or 0 */
  uint64_t memory_limit; /**< bytes of gatun_memory_allocate that may be allocated at once; 0 means as many as the device has */
} gatun_context_desc;

/**
 * The emulated device only: a stream that is late does nothing before somebody waits for it, which is as late as CUDA may be. A program that
 * forgets an event, or writes host memory too early, then computes something else on every run: what is missing shows where one of the two
 * streams is late and the other is not. Errors of a late stream's kernels are those of the call that waits.
 */
enum {
  GATUN_CONTEXT_LATE_FIRST = 1, /**< the stream of the context that was created first is late */
  GATUN_CONTEXT_LATE_OTHERS = 2 /**< its other streams are */
};

/** Version of this interface: GATUN_ABI_VERSION of the library. */
GATUN_API int32_t gatun_abi_version(void);

/**
 * Writes what this library was compiled to: one line a function or struct, zero-terminated.
 * `function NAME i32(ptr,...)` and `struct NAME SIZE field:offset:type ...`.
 * @param text where to write, may be NULL to ask for the size
 * @param capacity bytes available at text
 * @param needed receives the bytes needed, including the zero
 */
GATUN_API gatun_status gatun_abi_describe(char* text, size_t capacity, size_t* needed, gatun_error* error);

/**
 * Writes a JSON object about the library: abi, compiler, device ("cpu", "cuda", "emulated"), operations with the instruction set or
 * architecture that each runs on. CPU: isa (the level in use). CUDA: runtime and driver versions, devices (ordinal, name, compute
 * capability, multiprocessors, bytes of memory and L2 cache), and problem where there is none. Same protocol as gatun_abi_describe.
 */
GATUN_API gatun_status gatun_info(char* text, size_t capacity, size_t* needed, gatun_error* error);

/** Creates a context: a device with its resources. */
GATUN_API gatun_status gatun_context_create(const gatun_context_desc* desc, gatun_context** context, gatun_error* error);

/** Destroys a context; its streams must have been destroyed. NULL is allowed. */
GATUN_API gatun_status gatun_context_destroy(gatun_context* context, gatun_error* error);

/** Waits until everything submitted to any stream of the context's device is done. */
GATUN_API gatun_status gatun_context_synchronize(gatun_context* context, gatun_error* error);

/**
 * Ends the OpenMP workers that wait for the calling thread's next operation; that operation starts them again (some 50 us). They wait actively for
 * milliseconds, which takes the core from a thread that is to compute beside this one: call this before such threads begin. Nothing is done where
 * the workers sleep at once (OMP_WAIT_POLICY=passive), and on a CUDA device.
 */
GATUN_API gatun_status gatun_context_release_threads(gatun_context* context, gatun_error* error);

/** Creates a stream of a context. */
GATUN_API gatun_status gatun_stream_create(gatun_context* context, gatun_stream** stream, gatun_error* error);

/** Destroys a stream. NULL is allowed. */
GATUN_API gatun_status gatun_stream_destroy(gatun_stream* stream, gatun_error* error);

/** Waits until everything submitted to the stream is done. */
GATUN_API gatun_status gatun_stream_synchronize(gatun_stream* stream, gatun_error* error);

/**
 * The CUDA stream behind a stream, for a library that takes one. It stays the stream's.
 * @param handle receives the cudaStream_t. CPU: GATUN_UNSUPPORTED
 */
GATUN_API gatun_status gatun_stream_handle(gatun_stream* stream, void** handle, gatun_error* error);

/**
 * From now on what is submitted to the stream is recorded instead of done. Every operation can be recorded; allocating device memory, waiting
 * and copies of memory that does not outlive the graph cannot. CPU: GATUN_UNSUPPORTED.
 */
GATUN_API gatun_status gatun_stream_begin_capture(gatun_stream* stream, gatun_error* error);

/** Ends the recording and makes a graph of it, to be launched any number of times. An error if something in between could not be recorded. */
GATUN_API gatun_status gatun_stream_end_capture(gatun_stream* stream, gatun_graph** graph, gatun_error* error);

/** Submits what was recorded once more: with the pointers of then, and with what the memory behind them holds now. */
GATUN_API gatun_status gatun_graph_launch(gatun_graph* graph, gatun_stream* stream, gatun_error* error);

/** Destroys a graph that is not running. NULL is allowed. */
GATUN_API gatun_status gatun_graph_destroy(gatun_graph* graph, gatun_error* error);

/** Creates an event: a point in a stream's work that can be timed, and that the host and other streams can wait for. */
GATUN_API gatun_status gatun_event_create(gatun_context* context, gatun_event** event, gatun_error* error);

/** Destroys an event. NULL is allowed. */
GATUN_API gatun_status gatun_event_destroy(gatun_event* event, gatun_error* error);

/**
 * The event happens when everything submitted to the stream so far is done. Recorded again, it forgets the time before. An event that is
 * recorded while its stream captures is part of the graph: only that stream may wait for it.
 */
GATUN_API gatun_status gatun_event_record(gatun_stream* stream, gatun_event* event, gatun_error* error);

/** The host waits until the event happens; not at all if it was never recorded. */
GATUN_API gatun_status gatun_event_synchronize(gatun_event* event, gatun_error* error);

/** Whether the event has happened, without waiting. One that was never recorded has. @param done receives 1 or 0 */
GATUN_API gatun_status gatun_event_query(gatun_event* event, int32_t* done, gatun_error* error);

/**
 * What is submitted to the stream from now on is done after the event, as it was last recorded, on whichever stream of the same kind of device;
 * the host does not wait. An event that was never recorded is not waited for. While the stream captures, an event from outside is refused.
 */
GATUN_API gatun_status gatun_stream_wait_event(gatun_stream* stream, gatun_event* event, gatun_error* error);

/** Waits for both events, which must have been recorded, and gives the time between them. */
GATUN_API gatun_status gatun_event_elapsed(gatun_event* start, gatun_event* end, double* seconds, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif
