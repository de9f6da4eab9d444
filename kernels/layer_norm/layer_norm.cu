// SPDX-License-Identifier: Apache-2.0
// Bound by memory. Forward holds a row in registers (row_groups.h). Backward gives a thread the same few columns of all rows of a chunk, so that
// x and dy are read once for dx, dgamma and dbeta together.
#include "kernels/layer_norm/layer_norm.h"

#include "kernels/common/partial_sums.h"
#include "kernels/common/row_groups.h"

namespace gatun {
namespace {

// y may be x, so neither is __restrict__: each thread writes only what it has read itself.
template <class T, int N, int Held, int Lanes>
__global__ void __launch_bounds__(RowGroup<Lanes>::kBound, 1) forward_kernel(Rows<const T> x, const float* __restrict__ gamma, const float* __restrict__ beta, Rows<T> y,
                                                                          float* __restrict__ means, float* __restrict__ rstds, float epsilon) {
  __shared__ float scratch[kLongRowBlock / 32];
  const RowGroup<Lanes> group{scratch};
  const float columns = static_cast<float>(x.columns);
  for (int64_t first = blockIdx.x * group.rows(); first < x.rows; first += gridDim.x * group.rows()) {
    const int64_t row = first + group.slot(), count = row < x.rows ? x.columns / N : 0;
    HeldRow<T, N, Held> in;
    in.load(group, row_of(x, row), count);
    float sum = 0, squares = 0;
    for_packs(group, count, [&](int64_t, const Floats<N>& v) {
      for (int i = 0; i < N; ++i) sum += v.at[i];
    }, in);
    const float mean = group.sum(sum) / columns;
    for_packs_back(group, count, [&](int64_t, const Floats<N>& v) {
      for (int i = 0; i < N; ++i) squares += (v.at[i] - mean) * (v.at[i] - mean);
    }, in);
    const float rstd = 1.0f / sqrtf(group.sum(squares) / columns + epsilon);
    if (group.thread() == 0 && row < x.rows) {
      means[row] = mean;
      rstds[row] = rstd;
    }
    auto* out = reinterpret_cast<Pack<T, N>*>(row_of(y, row));
    for_packs(group, count, [&](int64_t index, Floats<N> v) {
      const Floats<N> scale = load_or<N>(gamma, index, 1.0f), shift = load_or<N>(beta, index, 0.0f);
      for (int i = 0; i < N; ++i) v.at[i] = (v.at[i] - mean) * rstd * scale.at[i] + shift.at[i];
      out[index] = narrow<T>(v);
    }, in);
  }
}

// How backward cuts (rows, packs of columns): a block is `slots` rows of `width` threads, a thread is one pack of columns.
struct Cut {
  static constexpr int kThreads = 512, kSlotThreads = 256;
  int width, slots;
  int64_t chunk, chunks;

  // Chunks of at least 16 rows, so that partial sums stay small beside the rows; up to four for each of 132 multiprocessors.
  static int64_t rows_of_chunk(int64_t rows) { return rows <= 16 * 528 ? 16 : chunk_count(rows, 528); }

  Cut(int64_t rows, int64_t packs) : width(1), chunk(rows_of_chunk(rows)), chunks(chunk_count(rows, chunk)) {
    if (packs > 32) width = static_cast<int>(chunk_count(packs, 32) * 32);
    else while (width < packs) width *= 2;
    slots = width > kSlotThreads ? 1 : kSlotThreads / width;
  }
};

// Σ of each value over the threads that share a row, the same bits in all of them. The buffers of scratch take turns, so one barrier is enough.
template <int Values>
__device__ __forceinline__ void sum_over_width(float (&values)[Values], int width, float (&scratch)[2][Cut::kThreads / 32][Values], int turn) {
  for (int offset = (width < 32 ? width : 32) / 2; offset > 0; offset /= 2) {
    GATUN_UNROLL
    for (int k = 0; k < Values; ++k) values[k] += __shfl_xor_sync(kFullMask, values[k], offset);
  }
  if (width <= 32) return;
  const int warps = width / 32, first = static_cast<int>(threadIdx.x) / width * warps;
  if (threadIdx.x % 32 == 0) {
    for (int k = 0; k < Values; ++k) scratch[turn][threadIdx.x / 32][k] = values[k];
  }
  __syncthreads();
  for (int k = 0; k < Values; ++k) values[k] = 0;
  for (int i = 0; i < warps; ++i) {
    for (int k = 0; k < Values; ++k) values[k] += scratch[turn][first + i][k];
  }
}

// partial: for each chunk Σ dy x̂ (columns), then Σ dy (columns); NULL where neither is wanted. dx may be dy.
template <class T, int N, int R>
__global__ void __launch_bounds__(Cut::kThreads) backward_kernel(Rows<const T> x, const float* __restrict__ gamma, const float* __restrict__ means,
                                                                 const float* __restrict__ rstds, Rows<const T> dy, Rows<T> dx, float* __restrict__ partial, Cut cut) {
  __shared__ float scratch[2][Cut::kThreads / 32][2 * R];
  __shared__ Floats<N> sums[2 * Cut::kSlotThreads];
  const int slot = static_cast<int>(threadIdx.x) / cut.width, column = static_cast<int>(threadIdx.x) % cut.width;
  const bool inside = column < x.columns / N;
  const float share = 1.0f / static_cast<float>(x.columns);
  const Floats<N> scale = inside ? load_or<N>(gamma, column, 1.0f) : filled<N>(0.0f);
  int turn = 0;
  for (int64_t chunk = blockIdx.x; chunk < cut.chunks; chunk += gridDim.x) {
    const int64_t first = chunk * cut.chunk, last = first + cut.chunk < x.rows ? first + cut.chunk : x.rows;
    Floats<N> dgamma = filled<N>(0.0f), dbeta = filled<N>(0.0f);
    for (int64_t base = first; base < last; base += R * cut.slots, turn ^= 1) {
      Pack<T, N> in[R], upstream[R];
      float mean[R], rstd[R], values[2 * R];
      GATUN_UNROLL
      for (int k = 0; k < R; ++k) {
        const int64_t row = base + k * cut.slots + slot;
        in[k] = upstream[k] = narrow<T>(filled<N>(0.0f));
        mean[k] = rstd[k] = 0;
        if (inside && row < last) {
          in[k] = reinterpret_cast<const Pack<T, N>*>(row_of(x, row))[column];
          upstream[k] = reinterpret_cast<const Pack<T, N>*>(row_of(dy, row))[column];
          mean[k] = means[row];
          rstd[k] = rstds[row];
        }
      }
      GATUN_UNROLL
      for (int k = 0; k < R; ++k) {
        const Floats<N> v = widen(in[k]), g = widen(upstream[k]);
        float sum = 0, projection = 0;
        for (int i = 0; i < N; ++i) {
          const float unit = (v.at[i] - mean[k]) * rstd[k], scaled = g.at[i] * scale.at[i];
          sum += scaled;
          projection += scaled * unit;
          dgamma.at[i] += g.at[i] * unit;
          dbeta.at[i] += g.at[i];
        }
        values[2 * k] = sum;
        values[2 * k + 1] = projection;
      }
      sum_over_width(values, cut.width, scratch, turn);
      GATUN_UNROLL
      for (int k = 0; k < R; ++k) {
        const int64_t row = base + k * cut.slots + slot;
        if (!inside || row >= last) continue;
        const Floats<N> v = widen(in[k]), g = widen(upstream[k]);
        const float average = values[2 * k] * share, slope = values[2 * k + 1] * share;
        Floats<N> result;
        for (int i = 0; i < N; ++i) {
          result.at[i] = rstd[k] * (g.at[i] * scale.at[i] - average - (v.at[i] - mean[k]) * rstd[k] * slope);
        }
        reinterpret_cast<Pack<T, N>*>(row_of(dx, row))[column] = narrow<T>(result);
      }
    }
    if (partial == nullptr) continue;
    auto* to = reinterpret_cast<Floats<N>*>(partial + 2 * chunk * x.columns);
    const int64_t count = x.columns / N;
    if (cut.slots == 1) {
      if (inside) {
        to[column] = dgamma;
        to[count + column] = dbeta;
      }
      continue;
    }
    sums[threadIdx.x] = dgamma;
    sums[blockDim.x + threadIdx.x] = dbeta;
    __syncthreads();
    for (int j = static_cast<int>(threadIdx.x); j < 2 * cut.width; j += static_cast<int>(blockDim.x)) {
      const int c = j % cut.width, from = j < cut.width ? c : static_cast<int>(blockDim.x) + c;
      Floats<N> total = filled<N>(0.0f);
      for (int s = 0; s < cut.slots; ++s) {
        for (int i = 0; i < N; ++i) total.at[i] += sums[from + s * cut.width].at[i];
      }
      if (c < count) to[j < cut.width ? c : count + c] = total;
    }
    __syncthreads();  // the next chunk writes sums again
  }
}

// Rows too wide for one pack a thread: a block takes a row at a time and adds to partial, where each thread has its own columns.
template <class T, int N, int Held>
__global__ void __launch_bounds__(kLongRowBlock, 1) wide_backward_kernel(Rows<const T> x, const float* __restrict__ gamma, const float* __restrict__ means,
                                                                      const float* __restrict__ rstds, Rows<const T> dy, Rows<T> dx, float* __restrict__ partial,
                                                                      int64_t chunk, int64_t chunks) {
  __shared__ float scratch[kLongRowBlock / 32];
  const RowGroup<0> group{scratch};
  const int64_t count = x.columns / N;
  const float share = 1.0f / static_cast<float>(x.columns);
  for (int64_t k = blockIdx.x; k < chunks; k += gridDim.x) {
    const int64_t first = k * chunk, last = first + chunk < x.rows ? first + chunk : x.rows;
    auto* sums = reinterpret_cast<Floats<N>*>(partial) + 2 * k * count;
    for (int64_t row = first; row < last; ++row) {
      HeldRow<T, N, Held> in, upstream;
      in.load(group, row_of(x, row), count);
      upstream.load(group, row_of(dy, row), count);
      const float mean = means[row], rstd = rstds[row];
      float sum = 0, projection = 0;
      for_packs(group, count, [&](int64_t index, const Floats<N>& v, const Floats<N>& g) {
        const Floats<N> scale = load_or<N>(gamma, index, 1.0f);
        for (int i = 0; i < N; ++i) {
          sum += g.at[i] * scale.at[i];
          projection += g.at[i] * scale.at[i] * ((v.at[i] - mean) * rstd);
        }
      }, in, upstream);
      const float average = group.sum(sum) * share, slope = group.sum(projection) * share;
      auto* out = reinterpret_cast<Pack<T, N>*>(row_of(dx, row));
      for_packs_back(group, count, [&](int64_t index, const Floats<N>& v, const Floats<N>& g) {
        const Floats<N> scale = load_or<N>(gamma, index, 1.0f);
        Floats<N> result, dgamma = filled<N>(0.0f), dbeta = filled<N>(0.0f);
        if (partial != nullptr && row > first) {
          dgamma = sums[index];
          dbeta = sums[count + index];
        }
        for (int i = 0; i < N; ++i) {
          const float unit = (v.at[i] - mean) * rstd;
          result.at[i] = rstd * (g.at[i] * scale.at[i] - average - unit * slope);
          dgamma.at[i] += g.at[i] * unit;
          dbeta.at[i] += g.at[i];
        }
        out[index] = narrow<T>(result);
        if (partial != nullptr) {
          sums[index] = dgamma;
          sums[count + index] = dbeta;
        }
      }, in, upstream);
    }
  }
}

template <class T, int N>
void launch_backward(const Stream& stream, Rows<const T> x, const float* gamma, const float* mean, const float* rstd, Rows<const T> dy, Rows<T> dx, float* partial) {
  const Cut cut(x.rows, x.columns / N);
  if (cut.width <= Cut::kThreads) {
    constexpr int kRows = N == 8 ? 2 : 4;  // as many loads as the registers hold
    enqueue(stream, backward_kernel<T, N, kRows>, grid_for(cut.chunks, 1), static_cast<unsigned>(cut.width * cut.slots), 0, x, gamma, mean, rstd, dy, dx, partial, cut);
  } else {
    enqueue(stream, wide_backward_kernel<T, N, 4>, grid_for(cut.chunks, 1), kLongRowBlock, 0, x, gamma, mean, rstd, dy, dx, partial, cut.chunk, cut.chunks);
  }
}

}  // namespace

size_t layer_norm_workspace(int64_t rows, int64_t columns) {
  return static_cast<size_t>(2 * Cut(rows, 1).chunks * columns) * sizeof(float);
}

template <class T>
void layer_norm_forward(const Stream& stream, Rows<const T> x, const float* gamma, const float* beta, Rows<T> y, float* mean, float* rstd,
                        float epsilon) {
  if (x.rows == 0) return;
  constexpr int kN = kPack<T>, kHeld = 8;
  const bool packs = whole_packs<kN>(x) && whole_packs<kN>(y) && whole_packs<kN>(gamma) && whole_packs<kN>(beta);
  with_row_shape<kN, kHeld>(packs, x.columns, [&](auto lanes, auto n, int threads, int rows) {
    enqueue(stream, forward_kernel<T, n(), kHeld, lanes()>, grid_for(x.rows, rows), threads, 0, x, gamma, beta, y, mean, rstd, epsilon);
  });
}

template <class T>
void layer_norm_backward(const Stream& stream, Rows<const T> x, const float* gamma, const float* mean, const float* rstd, Rows<const T> dy,
                         Rows<T> dx, float* dgamma, float* dbeta, float* workspace) {
  constexpr int kN = kPack<T>;
  const bool parameters = dgamma != nullptr || dbeta != nullptr;
  float* const partial = parameters ? workspace : nullptr;
  if (x.rows > 0 && x.columns > 0) {
    if (whole_packs<kN>(x) && whole_packs<kN>(dy) && whole_packs<kN>(dx) && whole_packs<kN>(gamma) && whole_packs<kN>(partial)) {
      launch_backward<T, kN>(stream, x, gamma, mean, rstd, dy, dx, partial);
    } else {
      launch_backward<T, 1>(stream, x, gamma, mean, rstd, dy, dx, partial);
    }
  }
  if (parameters) add_partials(stream, workspace, Cut(x.rows, 1).chunks, 2 * x.columns, x.columns, dgamma, dbeta);
}

#define GATUN_INSTANTIATE(T)                                                                                                          \
  template void layer_norm_forward(const Stream&, Rows<const T>, const float*, const float*, Rows<T>, float*, float*, float);         \
  template void layer_norm_backward(const Stream&, Rows<const T>, const float*, const float*, const float*, Rows<const T>, Rows<T>, float*, float*, float*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)
#undef GATUN_INSTANTIATE

}  // namespace gatun
