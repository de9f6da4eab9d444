// SPDX-License-Identifier: Apache-2.0
// The backward pass reads dy and the residual once for both gradients. A block has a part of the lines (one position of one sample each) and
// up to 256 runs of neighbouring channels; a thread has one run of every group-th line, and its sums of dgamma in registers. The parts' sums are
// added by a second kernel, in their order.
#include "kernels/stochastic_depth/stochastic_depth.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/divider.h"
#include "kernels/common/storage_access.h"

namespace gatun {
namespace {

constexpr int kBlock = 256;
template <int V>
constexpr int kAhead = V == 4 ? 4 : 2;  // lines that are on their way to a thread, as registers allow

// By the number of lines alone. Enough blocks for every multiprocessor, and partial sums that are small beside the lines.
struct LineParts {
  int64_t lines, count;
  explicit LineParts(int64_t total) : lines(std::max<int64_t>(32, (total + 511) / 512)), count((total + lines - 1) / lines) {}
};

__global__ void __launch_bounds__(kBlock) mask_kernel(const gatun_random_key* key, const RandomIds ids, int64_t count, float rate, float kept, float* mask) {
  const RandomSource source = random_source(*key);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < count; i += static_cast<int64_t>(gridDim.x) * kBlock) {
    mask[i] = random_bernoulli(source, ids.of(i), 0, rate) ? 0.0f : kept;
  }
}

template <class T>
struct BackwardCall {
  const T *dy, *residual;
  T* dresidual;
  int64_t dy_stride, residual_stride, dresidual_stride, dy_rows;
  const int32_t* indices;
  RowScale scale;
  float* partial;  // (parts, channels); null: no dgamma
  int64_t lines, part_lines;
  Divider positions;
};

template <class T, int V>
__global__ void __launch_bounds__(kBlock, 2) backward_kernel(const BackwardCall<T> call) {
  __shared__ float sums[kBlock * V];
  const int64_t channels = call.scale.channels, runs = channels / V;
  const int width = runs < kBlock ? static_cast<int>(runs) : kBlock, groups = kBlock / width;  // runs and lines of a block at a time
  const int group = static_cast<int>(threadIdx.x) / width, place = static_cast<int>(threadIdx.x) % width;
  const int64_t tiles = (runs + width - 1) / width, parts = (call.lines + call.part_lines - 1) / call.part_lines;
  for (int64_t task = blockIdx.x; task < parts * tiles; task += gridDim.x) {
    const int64_t part = task / tiles, run = task % tiles * width + place, channel = run * V, first = part * call.part_lines;
    const int count = static_cast<int>(min(call.part_lines, call.lines - first));
    const bool works = group < groups && run < runs;
    // One division of 64 bits for the part; its lines are counted from there.
    const int64_t row0 = first / call.positions.divisor;
    const uint32_t position0 = static_cast<uint32_t>(first - row0 * call.positions.divisor);
    float gamma[V], sum[V] = {};
    GATUN_UNROLL
    for (int e = 0; e < V; ++e) gamma[e] = 1.0f;
    if (works && call.scale.gamma != nullptr) to_floats(load_pack<float, V>(call.scale.gamma + channel), gamma);
    for (int line = group; line < count && works; line += groups * kAhead<V>) {
      Pack<T, V> dy[kAhead<V>] = {}, residual[kAhead<V>] = {};
      float factor[kAhead<V>];
      int64_t row[kAhead<V>], at[kAhead<V>];
      GATUN_UNROLL
      for (int j = 0; j < kAhead<V>; ++j) {
        factor[j] = 0.0f;
        row[j] = -1;
        if (line + j * groups >= count) continue;
        uint32_t position;
        row[j] = row0 + call.positions.divide(position0 + static_cast<uint32_t>(line + j * groups), position);
        at[j] = position * channels + channel;
        factor[j] = call.scale.mask != nullptr ? call.scale.scale * call.scale.mask[row[j]] : call.scale.scale;
        if (factor[j] == 0.0f) continue;
        const int64_t from = call.indices != nullptr ? call.indices[row[j]] : row[j];
        if (from < 0 || from >= call.dy_rows) {
          factor[j] = NAN;
          continue;
        }
        dy[j] = load_pack<T, V>(call.dy + from * call.dy_stride + at[j]);
        if (call.partial != nullptr) residual[j] = load_pack<T, V>(call.residual + row[j] * call.residual_stride + at[j]);
      }
      GATUN_UNROLL
      for (int j = 0; j < kAhead<V>; ++j) {
        if (row[j] < 0) continue;
        float gradient[V], value[V], result[V];
        to_floats(dy[j], gradient);
        to_floats(residual[j], value);
        GATUN_UNROLL
        for (int e = 0; e < V; ++e) {
          // What is dropped was not read, and adds nothing.
          result[e] = factor[j] == 0.0f ? 0.0f : factor[j] * gamma[e] * gradient[e];
          if (factor[j] != 0.0f) sum[e] = fmaf(factor[j] * value[e], gradient[e], sum[e]);
        }
        store_pack(call.dresidual + row[j] * call.dresidual_stride + at[j], result);
      }
    }
    if (call.partial == nullptr) continue;
    GATUN_UNROLL
    for (int e = 0; e < V; ++e) sums[e * kBlock + threadIdx.x] = sum[e];
    __syncthreads();
    if (group == 0 && works) {
      for (int e = 0; e < V; ++e) {
        float total = 0.0f;
        for (int g = 0; g < groups; ++g) total += sums[e * kBlock + g * width + place];
        call.partial[part * channels + channel + e] = total;
      }
    }
    __syncthreads();
  }
}

// 32 channels a block: 32 warps add every 32nd part, then one warp adds what they have.
__global__ void __launch_bounds__(1024) dgamma_kernel(const float* __restrict__ partial, int64_t parts, int64_t channels, float* __restrict__ dgamma) {
  __shared__ float sums[32][33];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * 32; first < channels; first += static_cast<int64_t>(gridDim.x) * 32) {
    float sum = 0.0f;
    for (int64_t p = warp; p < parts && first + lane < channels; p += 32) sum += partial[p * channels + first + lane];
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && first + lane < channels) {
      float total = 0.0f;
      for (int w = 0; w < 32; ++w) total += sums[w][lane];
      dgamma[first + lane] = total;
    }
    __syncthreads();
  }
}

template <class T, int V>
void launch_backward(const Stream& stream, const BackwardCall<T>& call, int64_t parts) {
  const int64_t runs = call.scale.channels / V;
  enqueue(stream, backward_kernel<T, V>, grid_for(parts * ((runs + kBlock - 1) / kBlock), 1), kBlock, 0, call);
}

}  // namespace

void stochastic_depth_mask(const Stream& stream, const gatun_random_key* key, RandomIds ids, int64_t count, float rate, float* mask) {
  if (count > 0) enqueue(stream, mask_kernel, grid_for(count, kBlock), kBlock, 0, key, ids, count, rate, 1.0f / (1.0f - rate), mask);
}

size_t stochastic_depth_backward_workspace(int64_t lines, int64_t channels) {
  return static_cast<size_t>(LineParts(lines).count * channels) * sizeof(float);
}

template <class T>
void stochastic_depth_backward(const Stream& stream, Rows<const T> dy, const Rows<const T>* residual, const int32_t* indices,
                               const RowScale& scale, Rows<T> dresidual, float* dgamma, float* workspace) {
  if (scale.channels == 0) return;
  const int64_t positions = dresidual.columns / scale.channels, lines = dresidual.rows * positions;
  const LineParts parts(lines);
  if (lines > 0) {
    const BackwardCall<T> call{dy.data, residual->data, dresidual.data, dy.stride, residual->stride, dresidual.stride, dy.rows, indices,
                               scale, dgamma != nullptr ? workspace : nullptr, lines, parts.lines, Divider(positions)};
    constexpr int V = kVector<T>;
    const bool vectors = packs<T, V>(dy.data, dy.columns, dy.stride) && packs<T, V>(dresidual.data, dresidual.columns, dresidual.stride) &&
                         (dgamma == nullptr || packs<T, V>(residual->data, residual->columns, residual->stride)) &&
                         packs<float, V>(scale.gamma, scale.channels, 0);
    if (vectors) launch_backward<T, V>(stream, call, parts.count);
    else launch_backward<T, 1>(stream, call, parts.count);
  }
  if (dgamma != nullptr) enqueue(stream, dgamma_kernel, grid_for(scale.channels, 32), 1024, 0, workspace, parts.count, scale.channels, dgamma);
}

#define GATUN_STOCHASTIC_DEPTH(T)                                                                                                  \
  template void stochastic_depth_backward(const Stream&, Rows<const T>, const Rows<const T>*, const int32_t*, const RowScale&, Rows<T>, float*, float*);
GATUN_FOR_EACH_STORAGE(GATUN_STOCHASTIC_DEPTH)

}  // namespace gatun
