// SPDX-License-Identifier: Apache-2.0
// Bound by memory: x is read once. Where neighbours are combined, a warp or a block takes a chunk of an output; where they belong to neighbouring
// outputs, a thread takes a column and walks down a chunk of rows. Chunks leave partial results, which are combined in their order, in f64.
#include "kernels/reduction/reduction.h"

#include "kernels/common/packs.h"

namespace gatun {
namespace {

constexpr int kBlock = 256, kWarps = kBlock / 32, kFinalBlock = 512;
constexpr int64_t kUnits = 1056;  // of work, at most, that one output or sweep is cut into: eight blocks for each of 132 multiprocessors

struct Sum {
  __device__ static float start() { return 0.0f; }
  template <class V>
  __device__ static V combine(V a, V b) { return a + b; }
};
struct Maximum {
  __device__ static float start() { return -INFINITY; }
  template <class V>
  __device__ static V combine(V a, V b) { return a != a || a > b ? a : b; }  // NaN stays
};

// A result, rounded once to what y is stored in. It is written once for very many reads, so the choice at run time costs nothing.
struct Output {
  void* data;
  int32_t dtype;
  __device__ void put(int64_t at, double value) const {
    const float result = static_cast<float>(value);
    if (dtype == GATUN_BF16) static_cast<__nv_bfloat16*>(data)[at] = __float2bfloat16_rn(result);
    else if (dtype == GATUN_F16) static_cast<__half*>(data)[at] = __float2half_rn(result);
    else static_cast<float*>(data)[at] = result;
  }
};

// Where the element of a running index lies, for one operand; the innermost `skip` loops are left out.
template <int N>
__device__ __forceinline__ int64_t offset_of(const Loops<N>& loops, int operand, int skip, int64_t index) {
  if (loops.rank - skip == 1) return index * loops.stride[operand][0];
  int64_t offset = 0;
  for (int i = loops.rank - 1 - skip; i >= 0; --i) {
    offset += index % loops.shape[i] * loops.stride[operand][i];
    index /= loops.shape[i];
  }
  return offset;
}

// Over Lanes threads: 32, or a block for 0. The result is that of the first of them. All threads of a block call it.
template <class Op, int Lanes>
__device__ __forceinline__ double combine_lanes(double value, double (&scratch)[kFinalBlock / 32]) {
  for (int offset = 16; offset > 0; offset /= 2) value = Op::combine(value, __shfl_xor_sync(kFullMask, value, offset));
  if constexpr (Lanes == 0) {
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    __syncthreads();
    value = scratch[0];
    for (unsigned i = 1; i < blockDim.x / 32; ++i) value = Op::combine(value, scratch[i]);
    __syncthreads();
  }
  return value;
}

struct RowPlan {
  Loops<2> kept;
  Loops<1> reduced;
  int64_t outputs, count, chunk, chunks;
  double scale;
};

// A unit is a chunk of an output. N elements are loaded at once, from rows without gaps for N > 1; four loads are under way.
template <class Op, class T, int N, int Lanes>
__global__ void __launch_bounds__(kBlock) rows_kernel(const T* __restrict__ x, Output y, double* __restrict__ partial, RowPlan plan) {
  __shared__ double scratch[kFinalBlock / 32];
  constexpr int kThreads = Lanes == 0 ? kBlock : Lanes, kUnitsOfBlock = kBlock / kThreads;
  const int64_t units = plan.outputs * plan.chunks;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kUnitsOfBlock; first < units; first += static_cast<int64_t>(gridDim.x) * kUnitsOfBlock) {
    const int64_t unit = first + threadIdx.x / kThreads, output = unit / plan.chunks;
    const T* const from = x + (unit < units ? offset_of(plan.kept, 0, 0, output) : 0);
    const int64_t begin = unit % plan.chunks * plan.chunk, limit = begin + plan.chunk;
    const int64_t end = unit < units ? (limit < plan.count ? limit : plan.count) : begin;
    float sums[4] = {Op::start(), Op::start(), Op::start(), Op::start()};
    const auto load = [&](int64_t pack) {
      if constexpr (N > 1) return reinterpret_cast<const Pack<T, N>*>(from)[pack];
      else return Pack<T, 1>{{from[offset_of(plan.reduced, 0, 0, pack)]}};
    };
    const auto add = [&](float& sum, const Pack<T, N>& stored) {
      const Floats<N> values = widen(stored);
      float value = values.at[0];
      for (int i = 1; i < N; ++i) value = Op::combine(value, values.at[i]);
      sum = Op::combine(sum, value);
    };
    int64_t pack = begin / N + threadIdx.x % kThreads;
    for (; pack + 3 * kThreads < end / N; pack += 4 * kThreads) {
      Pack<T, N> values[4];
      GATUN_UNROLL
      for (int k = 0; k < 4; ++k) values[k] = load(pack + k * kThreads);
      GATUN_UNROLL
      for (int k = 0; k < 4; ++k) add(sums[k], values[k]);
    }
    for (; pack < end / N; pack += kThreads) add(sums[0], load(pack));
    const float sum = Op::combine(Op::combine(sums[0], sums[1]), Op::combine(sums[2], sums[3]));
    const double total = combine_lanes<Op, Lanes>(static_cast<double>(sum), scratch);
    if (threadIdx.x % kThreads == 0 && unit < units) {
      if (plan.chunks == 1) y.put(offset_of(plan.kept, 1, 0, output), total / plan.scale);
      else partial[unit] = total;
    }
  }
}

template <class Op>
__global__ void __launch_bounds__(kBlock) rows_final_kernel(const double* __restrict__ partial, Output y, RowPlan plan) {
  __shared__ double scratch[kFinalBlock / 32];
  for (int64_t output = blockIdx.x; output < plan.outputs; output += gridDim.x) {
    double total = static_cast<double>(Op::start());
    for (int64_t k = threadIdx.x; k < plan.chunks; k += kBlock) total = Op::combine(total, partial[output * plan.chunks + k]);
    total = combine_lanes<Op, 0>(total, scratch);
    if (threadIdx.x == 0) y.put(offset_of(plan.kept, 1, 0, output), total / plan.scale);
  }
}

// How columns are cut: a block is `width` threads of one pack of columns times `slots` rows.
struct ColumnPlan {
  Loops<2> kept;
  Loops<1> reduced;
  int64_t outputs, rows, columns, tiles, chunk, chunks;
  int width, slots;
  double scale;
};

// A unit is a tile of columns of a chunk of rows of a matrix. N columns lie side by side for N > 1.
template <class Op, class T, int N>
__global__ void __launch_bounds__(kBlock, 3) columns_kernel(const T* __restrict__ x, Output y, float* __restrict__ partial, ColumnPlan plan) {
  __shared__ Floats<N> sums[kBlock];
  const int inner = plan.kept.rank - 1;
  const int64_t packs = plan.columns / N, matrices = plan.outputs / plan.columns;
  const int thread = static_cast<int>(threadIdx.x) % plan.width, slot = static_cast<int>(threadIdx.x) / plan.width;
  for (int64_t unit = blockIdx.x; unit < matrices * plan.chunks * plan.tiles; unit += gridDim.x) {
    const int64_t matrix = unit / plan.tiles / plan.chunks, chunk = unit / plan.tiles % plan.chunks, pack = unit % plan.tiles * plan.width + thread;
    const int64_t begin = chunk * plan.chunk, end = begin + plan.chunk < plan.rows ? begin + plan.chunk : plan.rows;
    const T* const from = x + offset_of(plan.kept, 0, 1, matrix) + pack * N * plan.kept.stride[0][inner];
    Floats<N> total = filled<N>(Op::start());
    for (int64_t row = begin + slot; pack < packs && row < end; row += 4 * plan.slots) {
      Pack<T, N> stored[4];
      GATUN_UNROLL
      for (int k = 0; k < 4; ++k) {
        const int64_t at = row + k * plan.slots;
        stored[k] = at < end ? *reinterpret_cast<const Pack<T, N>*>(from + offset_of(plan.reduced, 0, 0, at)) : narrow<T>(filled<N>(Op::start()));
      }
      GATUN_UNROLL
      for (int i = 0; i < N; ++i) {
        float values[4];
        GATUN_UNROLL
        for (int k = 0; k < 4; ++k) values[k] = widen(Pack<T, 1>{{stored[k].at[i]}}).at[0];
        total.at[i] = Op::combine(total.at[i], Op::combine(Op::combine(values[0], values[1]), Op::combine(values[2], values[3])));
      }
    }
    sums[threadIdx.x] = total;
    __syncthreads();
    const int columns = plan.width * N;
    const float* const each = reinterpret_cast<const float*>(sums);
    for (int j = static_cast<int>(threadIdx.x); j < columns; j += kBlock) {
      const int64_t column = unit % plan.tiles * columns + j;
      float result = each[j];
      for (int s = 1; s < plan.slots; ++s) result = Op::combine(result, each[s * columns + j]);
      if (column >= plan.columns) continue;
      if (plan.chunks == 1) y.put(offset_of(plan.kept, 1, 1, matrix) + column * plan.kept.stride[1][inner], static_cast<double>(result) / plan.scale);
      else partial[chunk * plan.outputs + matrix * plan.columns + column] = result;
    }
    __syncthreads();  // the next unit writes sums again
  }
}

// A block takes 32 outputs, its warps their chunks in turn.
template <class Op>
__global__ void __launch_bounds__(kFinalBlock) columns_final_kernel(const float* __restrict__ partial, Output y, ColumnPlan plan) {
  __shared__ double scratch[kFinalBlock / 32][32];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * 32; first < plan.outputs; first += static_cast<int64_t>(gridDim.x) * 32) {
    const int64_t output = first + lane;
    double total = static_cast<double>(Op::start());
    for (int64_t k = output < plan.outputs ? warp : plan.chunks; k < plan.chunks; k += kFinalBlock / 32) {
      total = Op::combine(total, static_cast<double>(partial[k * plan.outputs + output]));
    }
    scratch[warp][lane] = total;
    __syncthreads();
    for (int i = 1; i < kFinalBlock / 32 && warp == 0; ++i) total = Op::combine(total, scratch[i][lane]);
    if (warp == 0 && output < plan.outputs) y.put(offset_of(plan.kept, 1, 0, output), total / plan.scale);
    __syncthreads();
  }
}

// The operands' strides allow packs of T, but for the innermost loop, which runs over single elements.
template <class T, int N>
bool packs_of(const Loops<N>& loops, int skip) {
  for (int i = 0; i < loops.rank - skip; ++i) {
    if (loops.stride[0][i] % kPack<T> != 0) return false;
  }
  return true;
}

template <class Op, class T>
void along_rows(const Stream& stream, const Reduction& plan, const T* x, const Output& y, double* partial) {
  const RowPlan rows{plan.kept, plan.reduced, plan.kept.count(), plan.reduced.count(), plan.chunk(), plan.chunks(),
                     plan.operation == GATUN_REDUCTION_MEAN ? static_cast<double>(plan.reduced.count()) : 1.0};
  if (rows.outputs == 0) return;
  const bool packs = rows.reduced.rank == 1 && rows.reduced.stride[0][0] == 1 && packs_of<T>(rows.kept, 0) && whole_packs<kPack<T>>(x, rows.count, 0);
  const int64_t units = rows.outputs * rows.chunks;
  const bool short_rows = rows.count <= 1024;
  const auto go = [&](auto n, auto lanes) {
    enqueue(stream, rows_kernel<Op, T, n(), lanes()>, grid_for(units, lanes() == 0 ? 1 : kWarps), kBlock, 0, x, y, partial, rows);
  };
  using std::integral_constant;
  if (packs && short_rows) go(integral_constant<int, kPack<T>>(), integral_constant<int, 32>());
  else if (packs) go(integral_constant<int, kPack<T>>(), integral_constant<int, 0>());
  else if (short_rows) go(integral_constant<int, 1>(), integral_constant<int, 32>());
  else go(integral_constant<int, 1>(), integral_constant<int, 0>());
  if (rows.chunks > 1) enqueue(stream, rows_final_kernel<Op>, grid_for(rows.outputs, 1), kBlock, 0, partial, y, rows);
}

template <class Op, class T>
void along_columns(const Stream& stream, const Reduction& plan, const T* x, const Output& y, float* partial) {
  const int inner = plan.kept.rank - 1;
  ColumnPlan columns{plan.kept, plan.reduced, plan.kept.count(), plan.reduced.count(), plan.kept.shape[inner], 0, plan.chunk(), plan.chunks(), 1, 0,
                     plan.operation == GATUN_REDUCTION_MEAN ? static_cast<double>(plan.reduced.count()) : 1.0};
  if (columns.outputs == 0) return;
  const bool packs = columns.kept.stride[0][inner] == 1 && packs_of<T>(columns.kept, 1) && packs_of<T>(columns.reduced, 0) && whole_packs<kPack<T>>(x, columns.columns, 0);
  const auto go = [&](auto n) {
    while (columns.width < 32 && columns.width < columns.columns / n()) columns.width *= 2;
    columns.slots = kBlock / columns.width;
    columns.tiles = chunk_count(columns.columns / n(), columns.width);
    const int64_t units = columns.outputs / columns.columns * columns.chunks * columns.tiles;
    enqueue(stream, columns_kernel<Op, T, n()>, grid_for(units, 1), kBlock, 0, x, y, partial, columns);
  };
  if (packs) go(std::integral_constant<int, kPack<T>>());
  else go(std::integral_constant<int, 1>());
  if (columns.chunks > 1) enqueue(stream, columns_final_kernel<Op>, grid_for(columns.outputs, 32), kFinalBlock, 0, partial, y, columns);
}

template <class Op, class T>
void reduce(const Stream& stream, const Reduction& plan, const T* x, const Output& y, void* workspace) {
  if (plan.along_rows()) along_rows<Op>(stream, plan, x, y, static_cast<double*>(workspace));
  else along_columns<Op>(stream, plan, x, y, static_cast<float*>(workspace));
}

__global__ void zero_kernel(int32_t* count) { *count = 0; }

// Integers add up to the same in any order, also when they stop at the largest.
__device__ __forceinline__ void saturating_add(int32_t* count, int found) {
  int32_t old = atomicAdd(count, 0);
  while (true) {
    const int32_t seen = atomicCAS(count, old, old > 0x7fffffff - found ? 0x7fffffff : old + found);
    if (seen == old) return;
    old = seen;
  }
}

__device__ __forceinline__ int nonfinite(float value) { return (__float_as_uint(value) & 0x7f800000u) == 0x7f800000u ? 1 : 0; }

template <class T, int N>
__global__ void __launch_bounds__(kBlock, 4) count_nonfinite_kernel(const T* __restrict__ x, const __grid_constant__ Loops<1> loops, int64_t elements, int32_t* count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock, packs = elements / N;
  const auto load = [&](int64_t pack) {
    if constexpr (N > 1) return reinterpret_cast<const Pack<T, N>*>(x)[pack];
    else return Pack<T, 1>{{x[offset_of(loops, 0, 0, pack)]}};
  };
  int found = 0;
  // f32 holds every value of the half types, and no infinity that is none there
  const auto add = [&](const Pack<T, N>& stored) {
    const Floats<N> values = widen(stored);
    for (int i = 0; i < N; ++i) found += nonfinite(values.at[i]);
  };
  int64_t pack = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  for (; pack + 3 * step < packs; pack += 4 * step) {
    Pack<T, N> values[4];
    GATUN_UNROLL
    for (int k = 0; k < 4; ++k) values[k] = load(pack + k * step);
    GATUN_UNROLL
    for (int k = 0; k < 4; ++k) add(values[k]);
  }
  for (; pack < packs; pack += step) add(load(pack));
  if (N > 1 && blockIdx.x == 0 && threadIdx.x < elements % N) found += nonfinite(widen(Pack<T, 1>{{x[packs * N + threadIdx.x]}}).at[0]);
  found = __reduce_add_sync(kFullMask, found);
  if (threadIdx.x % 32 == 0 && found > 0) saturating_add(count, found);
}

}  // namespace

int64_t Reduction::chunk() const {
  if (!along_rows()) {
    // As many chunks of 16 rows or more as keep the multiprocessors busy beside the columns.
    const int64_t sweep = chunk_count(kept.count(), 128), most = chunk_count(reduced.count(), 16), wanted = sweep > 0 ? kUnits / 2 / sweep : 1;
    const int64_t cut = wanted < most ? wanted : most;
    return reduced.count() > 0 ? chunk_count(reduced.count(), cut > 1 ? cut : 1) : 1;
  }
  const int64_t even = chunk_count(chunk_count(reduced.count(), kUnits), 4) * 4;
  return even > 16384 ? even : 16384;
}

int64_t Reduction::chunks() const {
  const int64_t count = chunk_count(reduced.count(), chunk());
  return count > 1 ? count : 1;
}

size_t Reduction::workspace_bytes() const {
  if (chunks() == 1) return 0;
  return static_cast<size_t>(chunks() * kept.count()) * (along_rows() ? sizeof(double) : sizeof(float));
}

template <class T>
void reduction(const Stream& stream, const Reduction& plan, const T* x, void* y, void* workspace) {
  const Output output{y, plan.y_dtype};
  if (plan.operation == GATUN_REDUCTION_MAXIMUM) reduce<Maximum>(stream, plan, x, output, workspace);
  else reduce<Sum>(stream, plan, x, output, workspace);
}

template <class T>
void reduction_count_nonfinite(const Stream& stream, const Loops<1>& loops, const T* x, int32_t* count) {
  enqueue(stream, zero_kernel, 1, 1, 0, count);
  const int64_t elements = loops.count();
  if (elements == 0) return;
  const int64_t blocks = grid_for(elements, 16 * kBlock);
  const unsigned grid = static_cast<unsigned>(blocks < kUnits ? blocks : kUnits);
  const bool packs = loops.rank == 1 && loops.stride[0][0] == 1 && whole_packs<kPack<T>>(x, 0, 0);
  if (packs) enqueue(stream, count_nonfinite_kernel<T, kPack<T>>, grid, kBlock, 0, x, loops, elements, count);
  else enqueue(stream, count_nonfinite_kernel<T, 1>, grid, kBlock, 0, x, loops, elements, count);
}

#define GATUN_INSTANTIATE(T)                                                          \
  template void reduction<T>(const Stream&, const Reduction&, const T*, void*, void*); \
  template void reduction_count_nonfinite<T>(const Stream&, const Loops<1>&, const T*, int32_t*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun
