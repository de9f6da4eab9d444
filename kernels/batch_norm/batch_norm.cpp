// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/isa.h"
#include "kernels/common/loops.h"
#include "kernels/common/partials.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/batch_norm/batch_norm.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Rows of one chunk: it stays in the second-level cache between its two passes. The size depends on the shape only.
constexpr int64_t batch_norm_chunk(int64_t columns) { return std::clamp<int64_t>(16384 / std::max<int64_t>(columns, 1), 32, 512); }

// partial: for each chunk its means (columns), then its centered sums of squares (columns)
void statistics(int threads, Rows<const float> x, float* partial) {
  const int64_t chunk = batch_norm_chunk(x.columns);
  const int64_t chunks = chunk_count(x.rows, chunk);
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t k = 0; k < chunks; ++k) {
    const int64_t first = k * chunk, last = std::min(x.rows, first + chunk);
    float* mean = partial + 2 * k * x.columns;
    float* centered = mean + x.columns;
    std::fill_n(mean, 2 * x.columns, 0.0f);
    // Four rows at a time: the sums are loaded and stored a quarter as often.
    int64_t r = first;
    for (; r + 4 <= last; r += 4) {
      const float *r0 = x.row(r), *r1 = x.row(r + 1), *r2 = x.row(r + 2), *r3 = x.row(r + 3);
      for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
        const VF pairs = hn::Add(hn::Add(part.load(r0 + c), part.load(r1 + c)), hn::Add(part.load(r2 + c), part.load(r3 + c)));
        part.store(hn::Add(part.load(mean + c), pairs), mean + c);
      });
    }
    for (; r < last; ++r) {
      const float* r0 = x.row(r);
      for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR { part.store(hn::Add(part.load(mean + c), part.load(r0 + c)), mean + c); });
    }
    const VF scale = hn::Set(F32(), 1.0f / static_cast<float>(last - first));
    for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR { part.store(hn::Mul(part.load(mean + c), scale), mean + c); });
    for (r = first; r + 2 <= last; r += 2) {
      const float *r0 = x.row(r), *r1 = x.row(r + 1);
      for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
        const VF center = part.load(mean + c);
        const VF d0 = hn::Sub(part.load(r0 + c), center), d1 = hn::Sub(part.load(r1 + c), center);
        part.store(hn::Add(part.load(centered + c), hn::MulAdd(d0, d0, hn::Mul(d1, d1))), centered + c);
      });
    }
    for (; r < last; ++r) {
      const float* r0 = x.row(r);
      for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
        const VF d0 = hn::Sub(part.load(r0 + c), part.load(mean + c));
        part.store(hn::MulAdd(d0, d0, part.load(centered + c)), centered + c);
      });
    }
  }
}

// What normalisation needs of one vector of channels.
struct Channels {
  VF mean, rstd, scale, beta;
};

template <class Part>
HWY_INLINE Channels channels_at(const BatchNormChannels& all, int64_t c, Part part) {
  Channels at{part.load(all.mean + c), part.load(all.rstd + c), {}, {}};
  at.scale = all.gamma ? hn::Mul(at.rstd, part.load(all.gamma + c)) : at.rstd;
  at.beta = all.beta ? part.load(all.beta + c) : hn::Zero(F32());
  return at;
}

// Forward and backward share this line, so that the mask of the rectifier is the same to the bit.
HWY_INLINE VF normalized(const Channels& at, VF x) { return hn::MulAdd(hn::Sub(x, at.mean), at.scale, at.beta); }

// dy where the rectifier let its input through. A NaN input is not "below 0".
HWY_INLINE VF masked(bool relu, const Channels& at, VF x, VF dy) {
  return relu ? hn::IfThenZeroElse(hn::Le(normalized(at, x), hn::Zero(F32())), dy) : dy;
}

void apply(int threads, Rows<const float> x, const BatchNormChannels& channels, Rows<float> y) {
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* in = x.row(r);
    float* out = y.row(r);
    for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
      const VF value = normalized(channels_at(channels, c, part), part.load(in + c));
      part.store(channels.relu ? maximum(value, hn::Zero(F32())) : value, out + c);
    });
  }
}

// partial: for each chunk Σ dy x̂ (columns), then Σ dy (columns)
void backward_sums(int threads, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> dy, float* partial) {
  const int64_t chunk = batch_norm_chunk(x.columns);
  const int64_t chunks = chunk_count(x.rows, chunk);
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t k = 0; k < chunks; ++k) {
    float* dgamma = partial + 2 * k * x.columns;
    float* dbeta = dgamma + x.columns;
    std::fill_n(dgamma, 2 * x.columns, 0.0f);
    for (int64_t r = k * chunk; r < std::min(x.rows, (k + 1) * chunk); ++r) {
      const float *in = x.row(r), *upstream = dy.row(r);
      for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
        const Channels at = channels_at(channels, c, part);
        const VF value = part.load(in + c);
        const VF gradient = masked(channels.relu, at, value, part.load(upstream + c));
        const VF unit = hn::Mul(hn::Sub(value, at.mean), at.rstd);
        part.store(hn::MulAdd(gradient, unit, part.load(dgamma + c)), dgamma + c);
        part.store(hn::Add(gradient, part.load(dbeta + c)), dbeta + c);
      });
    }
  }
}

void backward(int threads, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> dy, const float* dgamma,
              const float* dbeta, int64_t count, Rows<float> dx) {
#pragma omp parallel for num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t r = 0; r < x.rows; ++r) {
    const float *in = x.row(r), *upstream = dy.row(r);
    float* out = dx.row(r);
    const VF share = hn::Set(F32(), 1.0f / static_cast<float>(count));
    for_vectors(x.columns, [&](int64_t c, auto part) HWY_ATTR {
      const Channels at = channels_at(channels, c, part);
      const VF value = part.load(in + c);
      const VF gradient = masked(channels.relu, at, value, part.load(upstream + c));
      const VF unit = hn::Mul(hn::Sub(value, at.mean), at.rstd);
      const VF common = hn::MulAdd(unit, part.load(dgamma + c), part.load(dbeta + c));
      part.store(hn::Mul(at.scale, hn::NegMulAdd(common, share, gradient)), out + c);
    });
  }
}

void inference(int threads, Rows<const float> x, const BatchNormChannels& channels, const float* variance, double epsilon, Rows<float> y) {
  constexpr int64_t kBlock = 256;
  // Blocks of channels, because rstd of all of them has no place to be kept without a workspace.
#pragma omp parallel for collapse(2) num_threads(threads_for(threads, x.rows * x.columns)) schedule(static)
  for (int64_t first_row = 0; first_row < x.rows; first_row += kBlock) {
    for (int64_t first = 0; first < x.columns; first += kBlock) {
      HWY_ALIGN float rstd[kBlock];
      const int64_t width = std::min(kBlock, x.columns - first);
      for (int64_t c = 0; c < width; ++c) rstd[c] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[first + c]) + epsilon));
      const BatchNormChannels block{channels.mean + first, rstd, channels.gamma ? channels.gamma + first : nullptr,
                                    channels.beta ? channels.beta + first : nullptr, channels.relu};
      for (int64_t r = first_row; r < std::min(x.rows, first_row + kBlock); ++r) {
        const float* in = x.row(r) + first;
        float* out = y.row(r) + first;
        for_vectors(width, [&](int64_t c, auto part) HWY_ATTR {
          const VF value = normalized(channels_at(block, c, part), part.load(in + c));
          part.store(block.relu ? maximum(value, hn::Zero(F32())) : value, out + c);
        });
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

using HWY_NAMESPACE::batch_norm_chunk;

size_t batch_norm_workspace(int64_t rows, int64_t columns) {
  return static_cast<size_t>(2 * chunk_count(rows, batch_norm_chunk(columns)) * columns) * sizeof(float);
}

template <>
void batch_norm_statistics(const Stream& stream, Rows<const float> x, float* mean, float* centered, float* workspace) {
  GATUN_DISPATCH(statistics)(stream.threads(), x, workspace);
  // Chunks join in order (Chan, Golub and LeVeque, 1979).
  const int64_t chunk = batch_norm_chunk(x.columns);
  const int64_t chunks = chunk_count(x.rows, chunk);
  constexpr int64_t kBlock = 64;
#pragma omp parallel for num_threads(threads_for(stream.threads(), chunks * x.columns)) schedule(static)
  for (int64_t first = 0; first < x.columns; first += kBlock) {
    const int64_t width = std::min(kBlock, x.columns - first);
    double means[kBlock] = {}, squares[kBlock] = {};
    double before = 0;
    for (int64_t k = 0; k < chunks; ++k) {
      const double here = static_cast<double>(std::min(chunk, x.rows - k * chunk));
      const double total = before + here;
      const float* from = workspace + 2 * k * x.columns + first;
      for (int64_t c = 0; c < width; ++c) {
        const double delta = static_cast<double>(from[c]) - means[c];
        means[c] += delta * (here / total);
        squares[c] += static_cast<double>(from[x.columns + c]) + delta * delta * (before * here / total);
      }
      before = total;
    }
    for (int64_t c = 0; c < width; ++c) {
      mean[first + c] = static_cast<float>(means[c]);
      centered[first + c] = static_cast<float>(squares[c]);
    }
  }
}

void batch_norm_update(const Stream&, const float* mean, const float* centered, int64_t columns, int64_t count, double epsilon,
                       const float* momentum, float* running_mean, float* running_variance, float* rstd) {
  const double n = static_cast<double>(count);
  for (int64_t c = 0; c < columns; ++c) {
    const double squares = static_cast<double>(centered[c]);
    rstd[c] = static_cast<float>(1.0 / std::sqrt(squares / n + epsilon));
    if (running_mean == nullptr) continue;
    const double m = static_cast<double>(*momentum);
    running_mean[c] = static_cast<float>((1 - m) * static_cast<double>(running_mean[c]) + m * static_cast<double>(mean[c]));
    running_variance[c] = static_cast<float>((1 - m) * static_cast<double>(running_variance[c]) + m * squares / (n - 1));
  }
}

template <>
void batch_norm_apply(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<float> y) {
  GATUN_DISPATCH(apply)(stream.threads(), x, channels, y);
}

template <>
void batch_norm_inference(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, const float* variance,
                          double epsilon, Rows<float> y) {
  GATUN_DISPATCH(inference)(stream.threads(), x, channels, variance, epsilon, y);
}

template <>
void batch_norm_backward_sums(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> dy,
                              float* dgamma, float* dbeta, float* workspace) {
  GATUN_DISPATCH(backward_sums)(stream.threads(), x, channels, dy, workspace);
  const int64_t chunks = chunk_count(x.rows, batch_norm_chunk(x.columns));
  add_partials(stream.threads(), workspace, chunks, 2 * x.columns, x.columns, dgamma);
  add_partials(stream.threads(), workspace + x.columns, chunks, 2 * x.columns, x.columns, dbeta);
}

template <>
void batch_norm_backward(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> dy,
                         const float* dgamma, const float* dbeta, int64_t count, Rows<float> dx) {
  GATUN_DISPATCH(backward)(stream.threads(), x, channels, dy, dgamma, dbeta, count, dx);
}

}  // namespace gatun
#endif
