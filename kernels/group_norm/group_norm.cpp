// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "hwy/cache_control.h"
#include "kernels/common/isa.h"
#include "kernels/common/loops.h"
#include "kernels/common/partials.h"
#include "kernels/common/prefetch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/group_norm/group_norm.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kNormRows = 16;  // rows that a block of channels walks over with its values in registers
constexpr int kNormVectors = 4;    // vectors of such a block
// Samples up to this size stay in the second-level cache beside the next one. With fewer elements in all than the other number, everything does.
constexpr int64_t kFetchedFloats = 112 << 10, kFetchedTotal = 512 << 10;
constexpr int64_t kStreamedFloats = 4 << 20;  // of input and result: from here on the caches do not hold a result for who reads it next

// body(first row, end of rows, channel, vectors, WholeVector or PartVector) for all blocks of rows [first, last).
template <class Body>
HWY_INLINE void for_blocks(int64_t first, int64_t last, int64_t channels, const Body& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  for (int64_t r = first; r < last; r += kNormRows) {
    const int64_t end = std::min(last, r + kNormRows);
    int64_t c = 0;
    for (; c + kNormVectors * lanes <= channels; c += kNormVectors * lanes) body(r, end, c, std::integral_constant<int, kNormVectors>(), WholeVector{});
    for (; c + lanes <= channels; c += lanes) body(r, end, c, std::integral_constant<int, 1>(), WholeVector{});
    if (c < channels) body(r, end, c, std::integral_constant<int, 1>(), PartVector{channels - c});
  }
}

template <int kVectors, class Part>
HWY_INLINE void load_block(const Part& part, const float* from, VF (&values)[kVectors]) {
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) values[v] = part.load(from + v * static_cast<int64_t>(hn::Lanes(F32())));
}
template <int kVectors, class Part>
HWY_INLINE void store_block(const Part& part, const VF (&values)[kVectors], float* to, bool stream = false) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    if (stream) {
      hn::Stream(values[v], F32(), to + v * lanes);
    } else {
      part.store(values[v], to + v * lanes);
    }
  }
}

// The same rows of the next sample: two sweeps share them, by the parity of the row, so that memory works all the time. distance 0: no next sample.
template <int kVectors>
HWY_INLINE void fetch_block(const float* row, int64_t index, int64_t parity, int64_t distance) {
  if (distance == 0 || index % 2 != parity) return;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) __builtin_prefetch(address_after(row, distance + v * static_cast<int64_t>(hn::Lanes(F32()))), 0, 2);
}

// Streaming stores take whole lines, else a part would be written to memory by itself.
static bool streams(const Rows<float>& rows) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  return lanes == 16 && 2 * rows.rows * rows.columns >= kStreamedFloats && rows.columns % lanes == 0 && rows.stride % lanes == 0 &&
         reinterpret_cast<uintptr_t>(rows.data) % 64 == 0;
}

// Sums stay per channel, so that rows are swept in vectors whatever the width of a group; groups are formed from the sums of their
// channels, in f64. A sample is one thread's: it fits into the second-level cache at usual sizes, and its sweeps run there.
void forward(int threads, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* beta, Rows<float> y,
             float* means, float* rstds, float epsilon, float* workspace) {
  const int64_t channels = shape.channels, width = shape.width();
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const double count = static_cast<double>(shape.positions * width);
  const bool stream = streams(y);
  const bool fetch = shape.positions * x.stride <= kFetchedFloats && 2 * x.rows * x.columns >= kFetchedTotal;
#pragma omp parallel num_threads(threads_for(threads, x.rows * x.columns))
  {
#pragma omp for schedule(static) nowait
    for (int64_t b = 0; b < shape.samples; ++b) {
      float* sums = workspace + 6 * b * channels;
      float *mean = sums + channels, *scale = mean + channels, *shift = scale + channels;
      const int64_t first = b * shape.positions, last = first + shape.positions;
      const int64_t distance = fetch && b + 1 < shape.samples ? shape.positions * x.stride : 0;
      std::fill_n(sums, channels, 0.0f);
      for_blocks(first, last, channels, [&](int64_t r, int64_t end, int64_t c, auto vectors, auto part) HWY_ATTR {
        constexpr int kVectors = decltype(vectors)::value;
        VF sum[kVectors];
        load_block(part, sums + c, sum);
        for (; r < end; ++r) {
          const float* in = x.row(r) + c;
          fetch_block<kVectors>(in, r, 0, distance);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) sum[v] = hn::Add(sum[v], part.load(in + v * lanes));
        }
        store_block(part, sum, sums + c);
      });
      for (int64_t g = 0; g < shape.groups; ++g) {
        double total = 0;
        for (int64_t c = g * width; c < (g + 1) * width; ++c) total += static_cast<double>(sums[c]);
        means[b * shape.groups + g] = static_cast<float>(total / count);
        std::fill_n(mean + g * width, width, means[b * shape.groups + g]);
      }
      std::fill_n(sums, channels, 0.0f);
      for_blocks(first, last, channels, [&](int64_t r, int64_t end, int64_t c, auto vectors, auto part) HWY_ATTR {
        constexpr int kVectors = decltype(vectors)::value;
        VF sum[kVectors], center[kVectors];
        load_block(part, sums + c, sum);
        load_block(part, mean + c, center);
        for (; r < end; ++r) {
          const float* in = x.row(r) + c;
          fetch_block<kVectors>(in, r, 1, distance);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            const VF centered = hn::Sub(part.load(in + v * lanes), center[v]);
            sum[v] = hn::MulAdd(centered, centered, sum[v]);
          }
        }
        store_block(part, sum, sums + c);
      });
      for (int64_t g = 0; g < shape.groups; ++g) {
        double total = 0;
        for (int64_t c = g * width; c < (g + 1) * width; ++c) total += static_cast<double>(sums[c]);
        const float rstd = static_cast<float>(1.0 / std::sqrt(total / count + static_cast<double>(epsilon)));
        rstds[b * shape.groups + g] = rstd;
        for (int64_t c = g * width; c < (g + 1) * width; ++c) {
          scale[c] = gamma == nullptr ? rstd : rstd * gamma[c];
          shift[c] = beta == nullptr ? 0.0f : beta[c];
        }
      }
      for_blocks(first, last, channels, [&](int64_t r, int64_t end, int64_t c, auto vectors, auto part) HWY_ATTR {
        constexpr int kVectors = decltype(vectors)::value;
        VF center[kVectors], factor[kVectors], offset[kVectors], value[kVectors];
        load_block(part, mean + c, center);
        load_block(part, scale + c, factor);
        load_block(part, shift + c, offset);
        for (; r < end; ++r) {
          load_block(part, x.row(r) + c, value);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) value[v] = hn::MulAdd(hn::Sub(value[v], center[v]), factor[v], offset[v]);
          store_block(part, value, y.row(r) + c, stream);
        }
      });
    }
    if (stream) hwy::FlushStream();
  }
}

// Leaves Σ dy x̂ and Σ dy of each channel, sample by sample, in the first two sixths of each sample's workspace.
void backward(int threads, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* means, const float* rstds,
              Rows<const float> dy, Rows<float> dx, float* workspace) {
  const int64_t channels = shape.channels, width = shape.width();
  const double count = static_cast<double>(shape.positions * width);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const bool stream = streams(dx);
  const bool fetch = shape.positions * (x.stride + dy.stride) <= kFetchedFloats && 2 * x.rows * x.columns >= kFetchedTotal;
#pragma omp parallel num_threads(threads_for(threads, x.rows * x.columns))
  {
#pragma omp for schedule(static) nowait
    for (int64_t b = 0; b < shape.samples; ++b) {
      float* dgamma = workspace + 6 * b * channels;
      float *dbeta = dgamma + channels, *mean = dbeta + channels, *rstd = mean + channels, *slope = rstd + channels,
            *common = slope + channels;
      const int64_t first = b * shape.positions, last = first + shape.positions;
      const bool next = fetch && b + 1 < shape.samples;
      const int64_t x_distance = next ? shape.positions * x.stride : 0, dy_distance = next ? shape.positions * dy.stride : 0;
      for (int64_t g = 0; g < shape.groups; ++g) {
        std::fill_n(mean + g * width, width, means[b * shape.groups + g]);
        std::fill_n(rstd + g * width, width, rstds[b * shape.groups + g]);
      }
      std::fill_n(dgamma, 2 * channels, 0.0f);
      for_blocks(first, last, channels, [&](int64_t r, int64_t end, int64_t c, auto vectors, auto part) HWY_ATTR {
        constexpr int kVectors = decltype(vectors)::value;
        VF projection[kVectors], sum[kVectors], center[kVectors], factor[kVectors];
        load_block(part, dgamma + c, projection);
        load_block(part, dbeta + c, sum);
        load_block(part, mean + c, center);
        load_block(part, rstd + c, factor);
        for (; r < end; ++r) {
          const float *in = x.row(r) + c, *upstream = dy.row(r) + c;
          fetch_block<kVectors>(in, r, 0, x_distance);
          fetch_block<kVectors>(upstream, r, 0, dy_distance);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            const VF unit = hn::Mul(hn::Sub(part.load(in + v * lanes), center[v]), factor[v]);
            const VF gradient = part.load(upstream + v * lanes);
            projection[v] = hn::MulAdd(gradient, unit, projection[v]);
            sum[v] = hn::Add(gradient, sum[v]);
          }
        }
        store_block(part, projection, dgamma + c);
        store_block(part, sum, dbeta + c);
      });
      for (int64_t g = 0; g < shape.groups; ++g) {
        double sum = 0, projection = 0;
        for (int64_t c = g * width; c < (g + 1) * width; ++c) {
          const double factor = gamma == nullptr ? 1.0 : static_cast<double>(gamma[c]);
          sum += factor * static_cast<double>(dbeta[c]);
          projection += factor * static_cast<double>(dgamma[c]);
        }
        // dx = rstd (dy gamma - common - (x - mean) slope), one sweep over whole rows. The product with rstd comes last: rounding it
        // into the three terms would cost digits where they cancel.
        for (int64_t c = g * width; c < (g + 1) * width; ++c) {
          slope[c] = static_cast<float>(static_cast<double>(rstd[c]) * projection / count);
          common[c] = static_cast<float>(sum / count);
        }
      }
      for_blocks(first, last, channels, [&](int64_t r, int64_t end, int64_t c, auto vectors, auto part) HWY_ATTR {
        constexpr int kVectors = decltype(vectors)::value;
        VF center[kVectors], weight[kVectors], constant[kVectors], tilt[kVectors], factor[kVectors], value[kVectors];
        load_block(part, mean + c, center);
        load_block(part, common + c, constant);
        load_block(part, slope + c, tilt);
        load_block(part, rstd + c, factor);
        for (VF& w : weight) w = hn::Set(F32(), 1.0f);
        if (gamma != nullptr) load_block(part, gamma + c, weight);
        for (; r < end; ++r) {
          const float *in = x.row(r) + c, *upstream = dy.row(r) + c;
          fetch_block<kVectors>(in, r, 1, x_distance);
          fetch_block<kVectors>(upstream, r, 1, dy_distance);
          load_block(part, upstream, value);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            const VF centered = hn::Sub(part.load(in + v * lanes), center[v]);
            value[v] = hn::Mul(factor[v], hn::NegMulAdd(centered, tilt[v], hn::Sub(hn::Mul(value[v], weight[v]), constant[v])));
          }
          store_block(part, value, dx.row(r) + c, stream);
        }
      });
    }
    if (stream) hwy::FlushStream();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

// Six values a channel and sample: sums of the channel, and what each channel multiplies and adds.
size_t group_norm_workspace(const GroupNormShape& shape) {
  return static_cast<size_t>(6 * shape.samples * shape.channels) * sizeof(float);
}

template <>
void group_norm_forward(const Stream& stream, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* beta,
                        Rows<float> y, float* mean, float* rstd, float epsilon, float* workspace) {
  GATUN_DISPATCH(forward)(stream.threads(), shape, x, gamma, beta, y, mean, rstd, epsilon, workspace);
}

template <>
void group_norm_backward(const Stream& stream, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* mean,
                         const float* rstd, Rows<const float> dy, Rows<float> dx, float* dgamma, float* dbeta, float* workspace) {
  GATUN_DISPATCH(backward)(stream.threads(), shape, x, gamma, mean, rstd, dy, dx, workspace);
  const int64_t step = 6 * shape.channels;
  if (dgamma != nullptr) add_partials(stream.threads(), workspace, shape.samples, step, shape.channels, dgamma);
  if (dbeta != nullptr) add_partials(stream.threads(), workspace + shape.channels, shape.samples, step, shape.channels, dbeta);
}

}  // namespace gatun
#endif
