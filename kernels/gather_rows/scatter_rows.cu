// SPDX-License-Identifier: Apache-2.0
// Scatter-add without atomics: a block owns destinations, looks through all indices for those that name them, and adds what it finds in their
// order. Destinations stay on chip in f32 meanwhile: a piece of one long row in registers, some short rows whole in shared memory.
#include <algorithm>
#include <cmath>

#include "kernels/common/storage_access.h"
#include "kernels/gather_rows/gather_rows.h"

namespace gatun {
namespace {

constexpr int kBlock = 256, kScan = 4 * kBlock;
constexpr int64_t kLong = kMaxGrid < 1000 ? 256 : 2048;  // columns from which on a row is cut into pieces; low on the emulated device
constexpr int64_t kShortFloats = 8192;                    // of the short rows of a block
template <int V>
constexpr int kUnits = V == 1 ? 4 : 32 / V;  // accesses of a thread to each piece of a long row

template <class T>
struct ScatterCall {
  const T* base;  // null: zeros
  int64_t base_stride;
  const T* rows;
  int64_t rows_stride, count;
  const int32_t* indices;  // null: row i belongs to i
  RowScale scale;
  T* to;
  int64_t to_stride, to_rows, columns;
  bool in_place;  // base is to: rows that nothing is added to need not be touched
};

// What scan() finds among kScan indices, in their order: positions behind the first of them.
struct Found {
  int16_t at[kScan];
  int warp[kBlock / 32];
};

// Fills found.at with the i < kScan for which first <= indices[begin + i] < first + width, and returns how many they are; sets
// `broken` where an index is out of range. All threads call it. It starts with a barrier: until a thread calls it again, it may read the list.
__device__ __forceinline__ int scan(const int32_t* indices, int64_t begin, int64_t count, int64_t first, int64_t width, int64_t rows, Found& found,
                                    bool& broken) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int64_t mine = begin + 4 * static_cast<int64_t>(threadIdx.x);
  unsigned match = 0;
  bool bad = false;
  for (int e = 0; e < 4; ++e) {
    if (mine + e >= count) continue;
    const int64_t index = indices[mine + e];
    bad = bad || index < 0 || index >= rows;
    if (index >= first && index < first + width) match |= 1u << e;
  }
  if (__syncthreads_or(match != 0 || bad) == 0) return 0;
  broken = __syncthreads_or(bad) != 0 || broken;
  int before = __popc(match);
  for (int offset = 1; offset < 32; offset *= 2) {
    const int other = __shfl_up_sync(kFullMask, before, offset);
    if (lane >= offset) before += other;
  }
  if (lane == 31) found.warp[warp] = before;
  __syncthreads();
  int total = 0, place = before - __popc(match);
  for (int w = 0; w < kBlock / 32; ++w) {
    if (w < warp) place += found.warp[w];
    total += found.warp[w];
  }
  for (int e = 0; e < 4; ++e) {
    if ((match >> e & 1) != 0) found.at[place++] = static_cast<int16_t>(4 * threadIdx.x + e);
  }
  __syncthreads();
  return total;
}

__device__ __forceinline__ float factor_of(const RowScale& scale, int64_t row) { return scale.mask != nullptr ? scale.scale * scale.mask[row] : scale.scale; }

// sum += factor * gamma * values of the V columns from `column` on
template <class T, int V>
__device__ __forceinline__ void add_scaled(float (&sum)[V], const Pack<T, V>& values, float factor, const RowScale& scale, int64_t column) {
  float value[V];
  to_floats(values, value);
  if (scale.gamma == nullptr) {
    GATUN_UNROLL
    for (int e = 0; e < V; ++e) sum[e] = fmaf(factor, value[e], sum[e]);
  } else {
    const Pack<float, V> gamma = load_pack<float, V>(scale.gamma + column % scale.channels);
    GATUN_UNROLL
    for (int e = 0; e < V; ++e) sum[e] = fmaf(factor * gamma.element[e], value[e], sum[e]);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kBlock, 2) long_rows_kernel(const ScatterCall<T> call) {
  __shared__ Found found;
  constexpr int64_t kPiece = int64_t{kBlock} * V * kUnits<V>;
  const bool direct = call.indices == nullptr;
  // In place a block looks after the destination of a row: of the first row, if several have it.
  const bool by_source = call.in_place && !direct;
  const int64_t pieces = (call.columns + kPiece - 1) / kPiece, owners = by_source ? call.count : call.to_rows;
  for (int64_t task = blockIdx.x; task < owners * pieces; task += gridDim.x) {
    const int64_t owner = task / pieces, left = task % pieces * kPiece;
    const int64_t target = by_source ? call.indices[owner] : owner;
    bool mine = target >= 0 && target < call.to_rows, broken = false, begun = false;
    float sum[kUnits<V>][V];
    const auto column = [&](int u) { return left + (u * kBlock + static_cast<int64_t>(threadIdx.x)) * V; };
    const auto begin = [&] {
      begun = true;
      GATUN_UNROLL
      for (int u = 0; u < kUnits<V>; ++u) {
        if (call.base != nullptr && column(u) < call.columns) to_floats(load_pack<T, V>(call.base + target * call.base_stride + column(u)), sum[u]);
        else for (int e = 0; e < V; ++e) sum[u][e] = 0.0f;
      }
    };
    const auto add = [&](int64_t i) {
      const float factor = factor_of(call.scale, i);
      if (factor == 0.0f) return;
      Pack<T, V> values[kUnits<V>];
      GATUN_UNROLL
      for (int u = 0; u < kUnits<V>; ++u) {
        if (column(u) < call.columns) values[u] = load_pack<T, V>(call.rows + i * call.rows_stride + column(u));
      }
      if (!begun) begin();  // so late that both are under way together
      GATUN_UNROLL
      for (int u = 0; u < kUnits<V>; ++u) {
        if (column(u) < call.columns) add_scaled(sum[u], values[u], factor, call.scale, column(u));
      }
    };
    if (direct) {
      add(owner);
    } else {
      bool found_any = false;
      for (int64_t at = 0; mine && at < call.count; at += kScan) {
        const int total = scan(call.indices, at, call.count, target, 1, call.to_rows, found, broken);
        if (total > 0 && !found_any) {
          found_any = true;
          mine = !by_source || at + found.at[0] == owner;
        }
        for (int k = 0; k < total && mine; ++k) add(at + found.at[k]);
      }
    }
    if (mine && !begun) begin();
    if (!mine) continue;
    GATUN_UNROLL
    for (int u = 0; u < kUnits<V>; ++u) {
      if (column(u) >= call.columns) continue;
      if (broken) for (int e = 0; e < V; ++e) sum[u][e] = NAN;
      store_pack(call.to + target * call.to_stride + column(u), sum[u]);
    }
  }
}

// `width` rows a block; a thread has the same columns of every group-th of them, so that it alone touches its part of shared memory.
template <class T, int V>
__global__ void __launch_bounds__(kBlock, 2) short_rows_kernel(const ScatterCall<T> call, const int width) {
  __shared__ Found found;
  GATUN_DYNAMIC_SHARED(memory);
  float* const sums = reinterpret_cast<float*>(memory);
  constexpr int kAhead = 4;  // rows that are on their way to a thread
  const int columns = static_cast<int>(call.columns), vectors = columns / V;
  const int groups = vectors < kBlock ? kBlock / vectors : 1, group = vectors < kBlock ? static_cast<int>(threadIdx.x) / vectors : 0;
  const int first_vector = vectors < kBlock ? static_cast<int>(threadIdx.x) % vectors : static_cast<int>(threadIdx.x);
  const bool works = group < groups;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * width; first < call.to_rows; first += static_cast<int64_t>(gridDim.x) * width) {
    const int height = static_cast<int>(min(static_cast<int64_t>(width), call.to_rows - first));
    bool broken = false;
    const auto each = [&](auto&& f) {
      for (int r = group; r < height && works; r += groups) {
        for (int v = first_vector; v < vectors; v += kBlock) f(r, v * V, *reinterpret_cast<Pack<float, V>*>(sums + r * columns + v * V));
      }
    };
    each([&](int r, int column, Pack<float, V>& sum) {
      if (call.base != nullptr) to_floats(load_pack<T, V>(call.base + (first + r) * call.base_stride + column), sum.element);
      else for (int e = 0; e < V; ++e) sum.element[e] = 0.0f;
    });
    const auto add = [&](int total, auto&& source) {
      for (int v = first_vector; v < vectors && works; v += kBlock) {
        for (int k = 0; k < total; k += kAhead) {
          Pack<T, V> values[kAhead];
          float factor[kAhead];
          int row[kAhead];
          GATUN_UNROLL
          for (int j = 0; j < kAhead; ++j) {
            factor[j] = 0.0f;
            row[j] = 0;
            if (k + j >= total) continue;
            const int64_t i = source(k + j);
            row[j] = call.indices == nullptr ? k + j : static_cast<int>(call.indices[i] - first);
            if (row[j] % groups != group) continue;
            factor[j] = factor_of(call.scale, i);
            if (factor[j] != 0.0f) values[j] = load_pack<T, V>(call.rows + i * call.rows_stride + v * V);
          }
          GATUN_UNROLL
          for (int j = 0; j < kAhead; ++j) {
            if (factor[j] == 0.0f) continue;
            auto& sum = *reinterpret_cast<Pack<float, V>*>(sums + row[j] * columns + v * V);
            add_scaled(sum.element, values[j], factor[j], call.scale, v * V);
          }
        }
      }
    };
    if (call.indices == nullptr) {
      add(height, [&](int k) { return first + k; });
    } else {
      for (int64_t at = 0; at < call.count; at += kScan) {
        const int total = scan(call.indices, at, call.count, first, height, call.to_rows, found, broken);
        add(total, [&](int k) { return at + found.at[k]; });
      }
    }
    each([&](int r, int column, Pack<float, V>& sum) {
      if (broken) for (int e = 0; e < V; ++e) sum.element[e] = NAN;
      store_pack(call.to + (first + r) * call.to_stride + column, sum.element);
    });
  }
}

template <class T, int V>
void scatter(const Stream& stream, const ScatterCall<T>& call) {
  if (call.columns >= kLong) {
    constexpr int64_t kPiece = int64_t{kBlock} * V * kUnits<V>;
    const int64_t owners = call.in_place && call.indices != nullptr ? call.count : call.to_rows;
    if (owners > 0) enqueue(stream, long_rows_kernel<T, V>, grid_for(owners * ((call.columns + kPiece - 1) / kPiece), 1), kBlock, 0, call);
  } else {
    const int64_t width = std::min<int64_t>(kShortFloats / call.columns, 256);
    const size_t bytes = static_cast<size_t>(width * call.columns) * sizeof(float);
    enqueue(stream, short_rows_kernel<T, V>, grid_for(call.to_rows, width), kBlock, bytes, call, static_cast<int>(width));
  }
}

}  // namespace

template <class T>
void scatter_add_rows(const Stream& stream, const Rows<const T>* base, Rows<const T> rows, const int32_t* indices, const RowScale& scale,
                      Rows<T> to) {
  if (to.columns == 0 || to.rows == 0) return;
  ScatterCall<T> call{nullptr, 0, rows.data, rows.stride, rows.rows, indices, scale, to.data, to.stride, to.rows, to.columns, false};
  if (base != nullptr) call.base = base->data, call.base_stride = base->stride, call.in_place = base->data == to.data;
  if (indices == nullptr && rows.rows != to.rows) {
    // An empty list of indices may come without a pointer. Nothing is added.
    call.scale = {0.0f, nullptr, nullptr, to.columns};
  }
  constexpr int V = kVector<T>;
  const bool vectors = packs<T, V>(to.data, to.columns, to.stride) && packs<T, V>(rows.data, rows.columns, rows.stride) &&
                       (base == nullptr || packs<T, V>(base->data, base->columns, base->stride)) &&
                       (scale.gamma == nullptr || packs<float, V>(scale.gamma, scale.channels, 0));
  if (vectors) scatter<T, V>(stream, call);
  else scatter<T, 1>(stream, call);
}

#define GATUN_SCATTER(T) \
  template void scatter_add_rows(const Stream&, const Rows<const T>*, Rows<const T>, const int32_t*, const RowScale&, Rows<T>);
GATUN_FOR_EACH_STORAGE(GATUN_SCATTER)

}  // namespace gatun
