// SPDX-License-Identifier: Apache-2.0
// Bound by memory: every sweep reads the scores once. A row is shared by a warp or by a block, each thread holding the same columns of all
// rows in registers: its sum is a reduction over the threads, after which each adds its own columns to sums that also stay in registers
// over all rows of a part. The first sweep, where rows are not scaled, finds the range along with the sums.
#include "kernels/sinkhorn/sinkhorn.h"

#include "kernels/sinkhorn/sinkhorn_device.h"

namespace gatun {
namespace {

using namespace sinkhorn_cuda;

// Group threads share a row and own Own columns each; they take Batch rows at a time, so that enough bytes are under way.
template <int kGroup, int kOwn, int kBatch>
struct Shape {
  static constexpr int group = kGroup, own = kOwn, batch = kBatch;
  static constexpr int threads = group == 32 ? 256 : group, warps = threads / 32, groups = threads / group;
  static constexpr int columns = group * own;  // at most
  static constexpr int blocks = threads <= 256 ? 2 : 1;  // on a processor, for the compiler's budget of registers
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % group; }
  __device__ static int column(int quad) { return (quad * group + lane()) * 4; }
};

// Rows are summed Batch at a time; two sets of partial sums make do with one barrier.
template <class S>
struct Reduction {
  float* partial;  // 2 x warps x batch
  int turn = 0;
  __device__ explicit Reduction(float* partial) : partial(partial) {}
  // The sums over the threads of a group, the same bits in each of them.
  __device__ __forceinline__ void sum(float (&values)[S::batch]) {
    for (int b = 0; b < S::batch; ++b) values[b] = warp_sum(values[b]);
    if constexpr (S::group > 32) {
      float* own = partial + turn * S::warps * S::batch;
      turn = 1 - turn;
      if (threadIdx.x % 32 == 0) {
        for (int b = 0; b < S::batch; ++b) own[threadIdx.x / 32 * S::batch + b] = values[b];
      }
      __syncthreads();
      for (int b = 0; b < S::batch; ++b) {
        float total = 0;
        for (int warp = 0; warp < S::warps; ++warp) total += own[warp * S::batch + b];
        values[b] = total;
      }
    }
  }
};

template <class S>
struct SweepMemory {
  float *u, *partial, *sums;
  __host__ __device__ explicit SweepMemory(Carve& carve)
      : u(carve.take<float>(S::columns)), partial(carve.take<float>(2 * S::warps * S::batch)),
        sums(carve.take<float>(S::groups > 1 ? S::groups * S::columns : 0)) {}
};

// u = 1 / sums, 0 behind the last prototype.
template <class S>
__device__ __forceinline__ void load_scaling(const float* sums, int64_t prototypes, float* u) {
  for (int c = static_cast<int>(threadIdx.x); c < S::columns; c += S::threads) u[c] = c < prototypes ? 1.0f / sums[c] : 0.0f;
  __syncthreads();
}

// The scores of Batch rows, those of this thread.
template <class S>
__device__ __forceinline__ void load_batch(const View& scores, int64_t row, int64_t end, float filler, float (&p)[S::batch][S::own]) {
  for (int b = 0; b < S::batch; ++b) {
    for (int q = 0; q < S::own / 4; ++q) {
      const float4 v = load_four(scores, row + b, S::column(q), row + b < end, filler);
      p[b][4 * q] = v.x, p[b][4 * q + 1] = v.y, p[b][4 * q + 2] = v.z, p[b][4 * q + 3] = v.w;
    }
  }
}

// What the threads of a block have summed of a part's columns becomes its row of `partial`; the groups in order.
template <class S>
__device__ __forceinline__ void store_part(const float (&sums)[S::own], float* shared, float* partial, int64_t width) {
  const int group = static_cast<int>(threadIdx.x) / S::group;
  if constexpr (S::groups > 1) {
    for (int q = 0; q < S::own / 4; ++q) {
      for (int i = 0; i < 4; ++i) shared[group * S::columns + S::column(q) + i] = sums[4 * q + i];
    }
    __syncthreads();
    for (int c = static_cast<int>(threadIdx.x); c < S::columns && c < width; c += S::threads) {
      float total = 0;
      for (int g = 0; g < S::groups; ++g) total += shared[g * S::columns + c];
      partial[c] = total;
    }
    __syncthreads();
  } else {
    for (int q = 0; q < S::own / 4; ++q) {
      const int c = S::column(q);
      if (c < width) *reinterpret_cast<float4*>(partial + c) = make_float4(sums[4 * q], sums[4 * q + 1], sums[4 * q + 2], sums[4 * q + 3]);
    }
  }
}

// The first sweep: sums of exp((s - m) / epsilon), and the part's range. m is the largest of all scores if it is given; else the largest
// of the part: each thread then shifts by the largest score that it has seen itself, so that nothing needs a barrier until the part's end.
template <class S>
__global__ void __launch_bounds__(S::threads, S::blocks) first_kernel(View scores, int64_t parts, int64_t part_rows, int64_t width, Scale scale,
                                                                      const SinkhornRange* given, SinkhornRange* ranges, float* partial) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const SweepMemory<S> shared(carve);
  __shared__ Extremes extremes_of[S::warps];
  const int group = static_cast<int>(threadIdx.x) / S::group;
  for (int64_t part = blockIdx.x; part < parts; part += gridDim.x) {
    const int64_t begin = part * part_rows, end = min(begin + part_rows, scores.rows);
    const float filler = scores.data[begin * scores.stride];  // a score of this part, so that the range does not mind
    Extremes extremes = Extremes::of(filler);
    float shift = given != nullptr ? given->maximum : filler, sums[S::own] = {};
    for (int64_t row = begin + group * S::batch; row < end; row += S::groups * S::batch) {
      float p[S::batch][S::own];
      load_batch<S>(scores, row, end, filler, p);
      for (int b = 0; b < S::batch; ++b) {
        for (int i = 0; i < S::own; ++i) extremes.add(p[b][i]);
      }
      if (given == nullptr) {
        const float before = scale.power(shift - extremes.high);
        shift = extremes.high;
        for (int i = 0; i < S::own; ++i) sums[i] *= before;
      }
      for (int b = 0; b < S::batch; ++b) {
        if (row + b >= end) break;
        for (int i = 0; i < S::own; ++i) sums[i] += scale.power(p[b][i] - shift);
      }
    }
    const Extremes all = block_extremes<S::threads>(extremes, extremes_of);
    if (given == nullptr) {
      const float factor = scale.power(shift - all.high);
      for (int i = 0; i < S::own; ++i) sums[i] *= factor;
    }
    store_part<S>(sums, shared.sums, partial + part * width, width);
    if (threadIdx.x == 0) ranges[part] = all.range();
  }
}

// A later sweep: each row first divided by its sum under the previous sums.
template <class S>
__global__ void __launch_bounds__(S::threads, S::blocks) sweep_kernel(View scores, int64_t parts, int64_t part_rows, int64_t width, Scale scale,
                                                                      const SinkhornRange* range, const float* previous, float* partial) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const SweepMemory<S> shared(carve);
  load_scaling<S>(previous, scores.columns, shared.u);
  Reduction<S> reduction(shared.partial);
  const float maximum = range->maximum;
  const int group = static_cast<int>(threadIdx.x) / S::group;
  for (int64_t part = blockIdx.x; part < parts; part += gridDim.x) {
    const int64_t begin = part * part_rows, end = min(begin + part_rows, scores.rows);
    float sums[S::own] = {};
    for (int64_t row = begin + group * S::batch; row < end; row += S::groups * S::batch) {
      float p[S::batch][S::own], total[S::batch] = {};
      load_batch<S>(scores, row, end, maximum, p);
      for (int q = 0; q < S::own / 4; ++q) {
        const float4 u = *reinterpret_cast<const float4*>(shared.u + S::column(q));
        for (int b = 0; b < S::batch; ++b) {
          float* four = p[b] + 4 * q;
          for (int i = 0; i < 4; ++i) four[i] = scale.power(four[i] - maximum);
          total[b] += (four[0] * u.x + four[1] * u.y) + (four[2] * u.z + four[3] * u.w);
        }
      }
      reduction.sum(total);
      for (int b = 0; b < S::batch; ++b) {
        const float v = row + b < end ? 1.0f / total[b] : 0.0f;
        for (int i = 0; i < S::own; ++i) sums[i] += v * p[b][i];
      }
    }
    store_part<S>(sums, shared.sums, partial + part * width, width);
  }
}

// Codes from the sums of the last sweep; codes may be the scores' own rows. Scores that are too far apart are not its business.
template <class S>
__global__ void __launch_bounds__(S::threads, S::blocks) finish_kernel(View scores, const SinkhornRange* range, float epsilon, bool leave_wide,
                                                                       Scale scale, const float* sums, float* codes, int64_t codes_stride,
                                                                       int64_t rows) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const SweepMemory<S> shared(carve);
  if (leave_wide && wide(*range, epsilon)) return;  // the same for all threads
  load_scaling<S>(sums, scores.columns, shared.u);
  Reduction<S> reduction(shared.partial);
  const float maximum = range->maximum, valid = usable(*range, epsilon) ? 1.0f : NAN;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * S::groups + threadIdx.x / S::group, skipped = scores.rows - rows;
  for (int64_t row = group * S::batch; row < rows; row += static_cast<int64_t>(gridDim.x) * S::groups * S::batch) {
    float p[S::batch][S::own], total[S::batch] = {};
    load_batch<S>(scores, skipped + row, scores.rows, maximum, p);
    for (int q = 0; q < S::own / 4; ++q) {
      const float4 u = *reinterpret_cast<const float4*>(shared.u + S::column(q));
      for (int b = 0; b < S::batch; ++b) {
        float* four = p[b] + 4 * q;
        four[0] = scale.power(four[0] - maximum) * u.x;
        four[1] = scale.power(four[1] - maximum) * u.y;
        four[2] = scale.power(four[2] - maximum) * u.z;
        four[3] = scale.power(four[3] - maximum) * u.w;
        total[b] += (four[0] + four[1]) + (four[2] + four[3]);
      }
    }
    reduction.sum(total);
    for (int b = 0; b < S::batch && row + b < rows; ++b) {
      const float v = valid / total[b];
      float* out = codes + (row + b) * codes_stride;
      for (int q = 0; q < S::own / 4; ++q) {
        const int column = S::column(q);
        const float* four = p[b] + 4 * q;
        if (column >= scores.columns) continue;
        if (scores.vector && codes_stride % 4 == 0 && reinterpret_cast<uintptr_t>(codes) % 16 == 0) {
          *reinterpret_cast<float4*>(out + column) = make_float4(four[0] * v, four[1] * v, four[2] * v, four[3] * v);
        } else {
          for (int i = 0; i < 4 && column + i < scores.columns; ++i) out[column + i] = four[i] * v;
        }
      }
    }
  }
}

// sums[k] = the sum of the parts, in order. ranges: of the parts of a first sweep, whose sums are relative to their own maximum;
// `found` then receives the range of all, which without it is given.
constexpr int kJoinColumns = 32, kJoinRows = 16, kJoinThreads = kJoinColumns * kJoinRows;

__global__ void __launch_bounds__(kJoinThreads) join_kernel(const float* partial, int64_t parts, int64_t width, int64_t prototypes,
                                                            const SinkhornRange* ranges, SinkhornRange* found, const SinkhornRange* given,
                                                            Scale scale, float epsilon, float* sums) {
  __shared__ Extremes extremes_of[kJoinThreads / 32];
  __shared__ double rows[kJoinRows][kJoinColumns];
  SinkhornRange range;
  if (found != nullptr) {
    range = join_ranges<kJoinThreads>(ranges, parts, extremes_of);
    if (blockIdx.x == 0 && threadIdx.x == 0) *found = range;
  } else {
    range = *given;
  }
  const bool valid = usable(range, epsilon);
  const int x = static_cast<int>(threadIdx.x) % kJoinColumns, y = static_cast<int>(threadIdx.x) / kJoinColumns;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kJoinColumns; first < prototypes; first += static_cast<int64_t>(gridDim.x) * kJoinColumns) {
    double total = 0;
    if (first + x < prototypes) {
      for (int64_t part = y; part < parts; part += kJoinRows) {
        const float factor = ranges != nullptr ? scale.power(ranges[part].maximum - range.maximum) : 1.0f;
        total += static_cast<double>(partial[part * width + first + x] * factor);
      }
    }
    rows[y][x] = total;
    __syncthreads();
    if (y == 0 && first + x < prototypes) {
      for (int i = 1; i < kJoinRows; ++i) total += rows[i][x];
      sums[first + x] = valid ? static_cast<float>(total) : NAN;
    }
    __syncthreads();
  }
}

// The range alone.
constexpr int kRangeThreads = 256;

__global__ void __launch_bounds__(kRangeThreads) range_kernel(View scores, int64_t parts, int64_t part_rows, SinkhornRange* ranges) {
  __shared__ Extremes extremes_of[kRangeThreads / 32];
  for (int64_t part = blockIdx.x; part < parts; part += gridDim.x) {
    const int64_t begin = part * part_rows, end = min(begin + part_rows, scores.rows);
    const float filler = scores.data[begin * scores.stride];
    Extremes own = Extremes::of(filler);
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t c = threadIdx.x * 4; c < scores.columns; c += kRangeThreads * 4) {
        const float4 v = load_four(scores, row, c, true, filler);
        own.add(v.x), own.add(v.y), own.add(v.z), own.add(v.w);
      }
    }
    const Extremes all = block_extremes<kRangeThreads>(own, extremes_of);
    if (threadIdx.x == 0) ranges[part] = all.range();
  }
}

__global__ void __launch_bounds__(kRangeThreads) join_range_kernel(const SinkhornRange* ranges, int64_t parts, SinkhornRange* range) {
  __shared__ Extremes extremes_of[kRangeThreads / 32];
  const SinkhornRange all = join_ranges<kRangeThreads>(ranges, parts, extremes_of);
  if (threadIdx.x == 0) *range = all;
}

// Rows of more prototypes than a block can hold (kMostHeld).
constexpr int64_t kFewSamples = 64;
constexpr int kLongThreads = 256, kLongColumns = 4 * kLongThreads;

__device__ __forceinline__ float long_row_sum(const View& scores, int64_t row, float maximum, const Scale& scale, const float* sums,
                                              float (&partial)[kLongThreads / 32]) {
  float total = 0;
  for (int64_t c = threadIdx.x; c < scores.columns; c += kLongThreads) {
    total += scale.power(scores.data[row * scores.stride + c] - maximum) * (1.0f / sums[c]);
  }
  return block_sum(total, partial);
}

__global__ void __launch_bounds__(kLongThreads) long_rows_kernel(View scores, const SinkhornRange* range, Scale scale, const float* previous,
                                                                 float* row_scaling) {
  __shared__ float partial[kLongThreads / 32];
  for (int64_t row = blockIdx.x; row < scores.rows; row += gridDim.x) {
    const float total = long_row_sum(scores, row, range->maximum, scale, previous, partial);
    if (threadIdx.x == 0) row_scaling[row] = 1.0f / total;
  }
}

// row_scaling: null in the first sweep
__global__ void __launch_bounds__(kLongThreads) long_columns_kernel(View scores, int64_t parts, int64_t part_rows, int64_t width,
                                                                    const SinkhornRange* range, Scale scale, const float* row_scaling,
                                                                    float* partial) {
  const int64_t tiles = (width + kLongColumns - 1) / kLongColumns;
  const float maximum = range->maximum;
  for (int64_t item = blockIdx.x; item < parts * tiles; item += gridDim.x) {
    const int64_t part = item / tiles, column = item % tiles * kLongColumns + threadIdx.x * 4;
    const int64_t begin = part * part_rows, end = min(begin + part_rows, scores.rows);
    float4 sum = make_float4(0, 0, 0, 0);
    for (int64_t row = begin; row < end; ++row) {
      const float v = row_scaling == nullptr ? 1.0f : row_scaling[row];
      const float4 s = load_four(scores, row, column, true, maximum);
      sum.x += v * scale.power(s.x - maximum);
      sum.y += v * scale.power(s.y - maximum);
      sum.z += v * scale.power(s.z - maximum);
      sum.w += v * scale.power(s.w - maximum);
    }
    if (column < width) *reinterpret_cast<float4*>(partial + part * width + column) = sum;
  }
}

__global__ void __launch_bounds__(kLongThreads) long_finish_kernel(View scores, const SinkhornRange* range, float epsilon, bool leave_wide,
                                                                   Scale scale, const float* sums, float* codes, int64_t codes_stride,
                                                                   int64_t rows) {
  __shared__ float partial[kLongThreads / 32];
  if (leave_wide && wide(*range, epsilon)) return;
  const float maximum = range->maximum, valid = usable(*range, epsilon) ? 1.0f : NAN;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t from = scores.rows - rows + row;
    const float v = valid / long_row_sum(scores, from, maximum, scale, sums, partial);
    for (int64_t c = threadIdx.x; c < scores.columns; c += kLongThreads) {
      codes[row * codes_stride + c] = scale.power(scores.data[from * scores.stride + c] - maximum) * (1.0f / sums[c]) * v;
    }
  }
}

// Calls f with the shape whose threads hold a row.
template <class F>
void with_shape(int64_t prototypes, F&& f) {
  if (prototypes <= 128) f(Shape<32, 4, 4>());
  else if (prototypes <= 512) f(Shape<32, 16, 2>());
  else if (prototypes <= 1024) f(Shape<256, 4, 8>());
  else if (prototypes <= 2048) f(Shape<256, 8, 4>());
  else if (prototypes <= 3072) f(Shape<256, 12, 3>());
  else if (prototypes <= 4096) f(Shape<256, 16, 2>());
  else if (prototypes <= 8192) f(Shape<512, 16, 2>());
  else f(Shape<1024, 16, 1>());
}

template <class S>
size_t sweep_bytes() {
  Carve carve(nullptr);
  const SweepMemory<S> shared(carve);
  return carve.bytes();
}

void join(const Stream& stream, const Workspace& w, const SinkhornRange* ranges, SinkhornRange* found, const SinkhornRange* given, float epsilon,
          float* sums) {
  enqueue(stream, join_kernel, grid_for(w.parts.prototypes, kJoinColumns), kJoinThreads, 0, w.partial, w.parts.count, w.parts.width,
          w.parts.prototypes, ranges, found, given, Scale(epsilon), epsilon, sums);
}

void find_range(const Stream& stream, Rows<const float> scores, SinkhornRange* range, const Workspace& w) {
  const int64_t parts = scores.columns == 0 ? 0 : w.parts.count;
  if (parts > 0) enqueue(stream, range_kernel, grid_for(parts, 1), kRangeThreads, 0, view(scores), parts, w.parts.rows, w.ranges);
  enqueue(stream, join_range_kernel, 1, kRangeThreads, 0, w.ranges, parts, range);
}

// found: null where the range is given
void first_sums(const Stream& stream, Rows<const float> scores, SinkhornRange* found, const SinkhornRange* given, float epsilon, float* sums,
                const Workspace& w) {
  const Parts& parts = w.parts;
  // Of few samples, the sums and later the rows they scale must come from the same bits, or their rounding errors would not cancel.
  const bool apart = found != nullptr && (scores.columns > kMostHeld || scores.rows < kFewSamples);
  if (apart) {
    find_range(stream, scores, found, w);
    given = found;
    found = nullptr;
  }
  if (scores.columns > kMostHeld) {
    enqueue(stream, long_columns_kernel, grid_for(parts.count * chunk_count(parts.width, kLongColumns), 1), kLongThreads, 0, view(scores),
            parts.count, parts.rows, parts.width, given, Scale(epsilon), nullptr, w.partial);
    join(stream, w, nullptr, nullptr, given, epsilon, sums);
    return;
  }
  if (scores.rows > 0) {
    with_shape(scores.columns, [&](auto shape) {
      using S = decltype(shape);
      enqueue(stream, first_kernel<S>, grid_for(parts.count, 1), S::threads, sweep_bytes<S>(), view(scores), parts.count, parts.rows, parts.width,
              Scale(epsilon), given, w.ranges, w.partial);
    });
  }
  join(stream, w, found == nullptr ? nullptr : w.ranges, found, given, epsilon, sums);
}

void next_sums(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* previous, float* sums,
               const Workspace& w) {
  const Parts& parts = w.parts;
  if (scores.rows > 0 && scores.columns > kMostHeld) {
    enqueue(stream, long_rows_kernel, grid_for(scores.rows, 1), kLongThreads, 0, view(scores), range, Scale(epsilon), previous, w.row_scaling);
    enqueue(stream, long_columns_kernel, grid_for(parts.count * chunk_count(parts.width, kLongColumns), 1), kLongThreads, 0, view(scores),
            parts.count, parts.rows, parts.width, range, Scale(epsilon), w.row_scaling, w.partial);
  } else if (scores.rows > 0) {
    with_shape(scores.columns, [&](auto shape) {
      using S = decltype(shape);
      enqueue(stream, sweep_kernel<S>, grid_for(parts.count, 1), S::threads, sweep_bytes<S>(), view(scores), parts.count, parts.rows, parts.width,
              Scale(epsilon), range, previous, w.partial);
    });
  }
  join(stream, w, nullptr, nullptr, range, epsilon, sums);
}

void finish(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, bool leave_wide, const float* sums,
            Rows<float> codes) {
  if (codes.rows == 0) return;
  if (scores.columns > kMostHeld) {
    enqueue(stream, long_finish_kernel, grid_for(codes.rows, 1), kLongThreads, 0, view(scores), range, epsilon, leave_wide, Scale(epsilon), sums,
            codes.data, codes.stride, codes.rows);
    return;
  }
  with_shape(scores.columns, [&](auto shape) {
    using S = decltype(shape);
    enqueue(stream, finish_kernel<S>, grid_for(codes.rows, S::groups * S::batch), S::threads, sweep_bytes<S>(), view(scores), range, epsilon,
            leave_wide, Scale(epsilon), sums, codes.data, codes.stride, codes.rows);
  });
}

}  // namespace

size_t sinkhorn_workspace(int64_t samples, int64_t prototypes) { return Workspace(nullptr, samples, prototypes).bytes; }

void sinkhorn_range(const Stream& stream, Rows<const float> scores, SinkhornRange* range, void* workspace) {
  find_range(stream, scores, range, Workspace(workspace, scores.rows, scores.columns));
}

void sinkhorn_sums(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* previous, float* sums,
                   void* workspace) {
  if (scores.columns == 0) return;
  const Workspace w(workspace, scores.rows, scores.columns);
  if (previous == nullptr) first_sums(stream, scores, nullptr, range, epsilon, sums, w);
  else next_sums(stream, scores, range, epsilon, previous, sums, w);
}

void sinkhorn_finish(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* sums,
                     Rows<float> codes, void*) {
  if (scores.columns > 0) finish(stream, scores, range, epsilon, false, sums, codes);
}

void sinkhorn(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, void* workspace) {
  if (scores.rows == 0 || scores.columns == 0) return;
  const Workspace w(workspace, scores.rows, scores.columns);
  check_cuda(cudaMemsetAsync(w.arrived, 0, sizeof(unsigned), static_cast<cudaStream_t>(stream.handle)));
  if (!chip_codes(stream, scores, epsilon, iterations, codes, w)) {
    first_sums(stream, scores, w.range, nullptr, epsilon, w.sums, w);
    for (int iteration = 1; iteration < iterations; ++iteration) next_sums(stream, scores, w.range, epsilon, w.sums, w.sums, w);
    finish(stream, scores, w.range, epsilon, true, w.sums, codes);
  }
  wide_codes(stream, scores, epsilon, iterations, codes, w);
}

}  // namespace gatun
